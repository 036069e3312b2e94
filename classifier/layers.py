"""config.json of a `.keras` file: the classes it names, held against a list before Keras sees it.

Keras makes an object of every class that the file names, from anywhere in its own package. Some of
those run code from the file, read other files or fetch them. So only what a network of pixels is
made of is let through; Keras's own safe mode is a second line behind that.
"""

from __future__ import annotations

import json
from typing import Any

from classifier.errors import ModelError

MAX_DEPTH = 100  # a network inside a network adds three
ANY = frozenset({"*"})  # every class of a module; functions are not written with a capital

# All of keras.layers, but for those that run code, read files or work on texts.
LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
    Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
    Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU
    EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity InputLayer
    LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D
    Maximum Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute Pipeline
    RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter
    RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector
    Rescaling Reshape Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D SimpleRNN
    SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D
    SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905 -- names to be read by people
)
ACTIVATIONS = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """.split()  # noqa: SIM905 -- names to be read by people
)
CLASSES = {
    "keras": frozenset({"Sequential", "Functional", "Model", "DTypePolicy"}),
    "keras.models": frozenset({"Sequential", "Functional", "Model"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": LAYERS,
    "keras.dtype_policies": frozenset({"DTypePolicy", "FloatDTypePolicy"}),
    "keras.random": frozenset({"SeedGenerator"}),
    "keras.initializers": ANY,
    "keras.regularizers": ANY,
    "keras.constraints": ANY,
    # An operation between layers, such as the sum in `x + y`.
    "keras.src.ops.numpy": ANY,
    "keras.src.ops.nn": ANY,
    "keras.src.ops.math": ANY,
    "keras.src.ops.image": ANY,
    "keras.src.ops.core": frozenset({"Cast", "ConvertToTensor", "Slice", "StopGradient"}),
    # A network inside of this one may have been trained before.
    "keras.optimizers": ANY,
    "keras.optimizers.schedules": ANY,
    "keras.losses": ANY,
    "keras.metrics": ANY,
    # Of networks in keras.applications.
    "keras.src.applications.convnext": frozenset({"LayerScale", "PreStem"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
}
# Values that JSON has no sign for. `__lambda__` and `__typespec__` are not among them.
VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
)
CODE = frozenset({"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"})
FILES = frozenset({"TFSMLayer"})
TEXTS = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "Hashing"})


def check(config: bytes) -> None:
    """Raise `ModelError` if this config.json names anything that is not let through."""
    try:
        said = json.loads(config)
    except RecursionError:
        raise ModelError(_too_deep()) from None
    except ValueError as error:
        raise ModelError(f"its config.json is no JSON ({error}): save the model again") from None
    if not isinstance(said, dict):
        raise ModelError("its config.json does not describe a network: save the model again")
    # How it was trained: Keras is told to leave that alone.
    said.pop("compile_config", None)
    waiting: list[tuple[Any, str, int]] = [(said, "the network", 0)]
    while waiting:
        value, owner, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ModelError(_too_deep())
        if isinstance(value, dict):
            if "class_name" in value:
                owner = _named(value, owner)
                _check_class(value, owner)
            waiting += [(inner, owner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, owner, depth + 1) for inner in value]


def _too_deep() -> str:
    return (
        f"its config.json is nested more than {MAX_DEPTH} deep, as no network is: save the model "
        "again, as one network"
    )


def _named(item: dict[str, Any], owner: str) -> str:
    """What a user calls the layer that an object belongs to."""
    config = item.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    if isinstance(name, str) and item.get("module") not in ("keras", "keras.dtype_policies"):
        return f"the layer {name[:60]!r}"
    return owner


def _check_class(item: dict[str, Any], owner: str) -> None:
    name, module = item["class_name"], item.get("module")
    registered = item.get("registered_name")
    if not isinstance(name, str):
        raise ModelError(f"{owner} does not say its class: save the model again")
    if name in VALUES and module is None and registered is None:
        return
    if name == "function":
        if module in ("builtins", "keras.activations") and _is_activation(item.get("config")):
            return
        raise ModelError(
            f"{owner} calls the function {_shown(module, item.get('config'))}; only Keras's own "
            "activations may be called. Use one of them in its place, and save the model again"
        )
    allowed = CLASSES.get(module, frozenset()) if isinstance(module, str) else frozenset()
    known = name[:1].isupper() if allowed is ANY else name in allowed
    if known and registered in (None, name):
        return
    if name in CODE:
        reason = (
            f"{owner} brings Python code along ({name}), and that is never run here. Save the "
            "model with layers of Keras's own in its place"
        )
    elif name in FILES:
        reason = f"{owner} loads another model from a file ({name}). Save the model as one network"
    elif name in TEXTS and module == "keras.layers":
        reason = (
            f"{owner} works on texts and can read files ({name}); a network that sees only pixels "
            "needs none. Take it out, and save the model again"
        )
    else:
        shown = _shown(None, registered) if registered not in (None, name) else _shown(module, name)
        reason = (
            f"{owner} is of the class {shown}, which is not among those of Keras's own that are "
            "let through. Save the model with others in its place"
        )
    raise ModelError(reason)


def _is_activation(name: object) -> bool:
    return isinstance(name, str) and name in ACTIVATIONS


def _shown(module: object, name: object) -> str:
    shown = f"{module}.{name}" if module is not None else str(name)
    return ascii(shown[:80])[1:-1]  # a terminal obeys some characters
