"""Model files that mean harm, or look like it. Made of a good one, without Keras."""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py

SECRET = b"SECRET of another file, not of the model"
Members = dict[str, bytes]


class Evil(NamedTuple):
    """make: writes the file into an empty folder, and returns its path. reason: why it is refused.

    pin: what `model_sha256:` says. slow: Keras has to be started to see what it is.
    """

    make: Callable[[Path, Members], Path]
    reason: str
    pin: str | None = None
    slow: bool = False


def members_of(model: Path) -> Members:
    with zipfile.ZipFile(model) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(folder: Path, members: Members, method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "evil.keras"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# config.json


def layer(name: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {
        "module": module, "class_name": name, "config": {"name": "odd", **config},
        "registered_name": None,
    }  # fmt: skip


def with_layer(good: Members, *layers: dict[str, Any]) -> Members:
    """The good network with further layers before its last one."""
    config = json.loads(good["config.json"])
    config["config"]["layers"][-1:-1] = layers
    return good | {"config.json": json.dumps(config).encode()}


def lambda_layer(statement: str = "None") -> dict[str, Any]:
    """A Lambda layer as Keras would save it; it runs a statement of Python when it is called."""
    code = eval(f"lambda x: ({statement}, x)[1]").__code__
    packed = base64.encodebytes(marshal.dumps(code)).decode()
    function = {"class_name": "__lambda__",
                "config": {"code": packed, "defaults": None, "closure": None}}  # fmt: skip
    return layer("Lambda", function=function, arguments={})


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _layer(*layers: dict[str, Any]) -> Callable[[Path, Members], Path]:
    return lambda folder, good: written(folder, with_layer(good, *layers))


def _deep(folder: Path, good: Members) -> Path:
    config = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return written(folder, good | {"config.json": config})


def _wide(folder: Path, good: Members) -> Path:
    config = json.loads(good["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 10**9
    return written(folder, good | {"config.json": json.dumps(config).encode()})


# The weights


def with_weights(good: Members, change: Callable[[h5py.File], None]) -> Members:
    content = io.BytesIO(good["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file)
    return good | {"model.weights.h5": content.getvalue()}


def _weights(change: Callable[[h5py.File, Path], None]) -> Callable[[Path, Members], Path]:
    """Beside it lies a file of somebody else: secret.raw, and secret.h5 that holds the same."""

    def make(folder: Path, good: Members) -> Path:
        (folder / "secret.raw").write_bytes(SECRET)
        with h5py.File(folder / "secret.h5", "w") as file:
            file["numbers"] = list(SECRET)
        return written(folder, with_weights(good, lambda file: change(file, folder)))

    return make


def external_link(file: h5py.File, folder: Path) -> None:
    file["odd"] = h5py.ExternalLink(str(folder / "secret.h5"), "/numbers")


def external_storage(file: h5py.File, folder: Path) -> None:
    place = [(str(folder / "secret.raw"), 0, len(SECRET))]
    file.create_dataset("odd", (len(SECRET),), "u1", external=place)


def virtual_dataset(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((len(SECRET),), "i8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "numbers", (len(SECRET),))
    file.create_virtual_dataset("odd", layout)


def _soft_link_loop(file: h5py.File, folder: Path) -> None:
    file["odd"] = h5py.SoftLink("/odd")


def _terabytes(file: h5py.File, folder: Path) -> None:
    file.create_dataset("odd", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))


# The zip


def _patched(content: bytes, name: str, place: int, value: int) -> bytes:
    """A field of four bytes changed in what the list of members says of one."""
    entry = content.rfind(b"PK\1\2", 0, content.rfind(name.encode()))
    return content[: entry + place] + struct.pack("<L", value) + content[entry + place + 4 :]


def _changed(change: Callable[[bytes, Members], bytes], deflated: bool = False) -> Any:
    def make(folder: Path, good: Members) -> Path:
        path = written(folder, good, zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)
        path.write_bytes(change(path.read_bytes(), good))
        return path

    return make


def _lying(content: bytes, good: Members) -> bytes:
    """Says of its weights that they are 1,000 bytes, and has the checksum of those."""
    content = _patched(content, "model.weights.h5", 24, 1000)
    return _patched(content, "model.weights.h5", 16, zlib.crc32(good["model.weights.h5"][:1000]))


def _overlapping(content: bytes, good: Members) -> bytes:
    return _patched(content, "config.json", 42, 0)  # where metadata.json begins


def bomb(folder: Path, good: Members, gigabytes: int = 10) -> Path:
    """Weights that are nothing but zeros, without end; about a megabyte for each gigabyte."""
    block = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = block.compress(bytes(1 << 26)) + block.flush(zlib.Z_FULL_FLUSH)
    packed = piece * (gigabytes * 16) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    path = written(folder, {**good, "model.weights.h5": packed})
    # As if it had been deflated and not stored: method 8, and another size.
    content = path.read_bytes()
    content = _patched(content, "model.weights.h5", 24, min(gigabytes << 30, 0xFFFFFFFE))
    entry = content.rfind(b"PK\1\2", 0, content.rfind(b"model.weights.h5"))
    local = content.find(b"model.weights.h5") - 30
    changed = bytearray(content)
    changed[entry + 10], changed[local + 8] = zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED
    path.write_bytes(changed)
    return path


def _twice(folder: Path, good: Members) -> Path:
    path = written(folder, good)
    with zipfile.ZipFile(path, "a") as archive:
        archive.infolist().pop(archive.namelist().index("contract.json"))
        archive.NameToInfo.pop("config.json")
        archive.writestr("config.json", good["config.json"])
    return path


def _with_member(name: str) -> Callable[[Path, Members], Path]:
    return lambda folder, good: written(
        folder, {key: value for key, value in good.items() if key != "contract.json"} | {name: b"x"}
    )


# The file


def _with_mode(mode: int) -> Callable[[Path, Members], Path]:
    def make(folder: Path, good: Members) -> Path:
        path = written(folder, good)
        path.chmod(mode)
        return path

    return make


def _in_open_folder(folder: Path, good: Members) -> Path:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    return written(folder / "open", good)


def _fifo(folder: Path, good: Members) -> Path:
    os.mkfifo(folder / "evil.keras")
    return folder / "evil.keras"


def _content(content: bytes) -> Callable[[Path, Members], Path]:
    def make(folder: Path, good: Members) -> Path:
        (folder / "evil.keras").write_bytes(content)
        return folder / "evil.keras"

    return make


def _legacy_h5(folder: Path, good: Members) -> Path:
    return _content(good["model.weights.h5"])(folder, good)


NESTED = {"module": "keras", "class_name": "Sequential", "registered_name": None,
          "config": {"name": "inner", "layers": [lambda_layer()]}}  # fmt: skip
SHELL = layer("Activation", activation=function("os", "system"))
VOCABULARY = layer("StringLookup", vocabulary="/etc/passwd")
CODE = "brings Python code along"
LINK = "is a link to elsewhere"
ELSEWHERE = "takes its numbers from another file"

EVIL = {
    "Lambda": Evil(_layer(lambda_layer()), f"the layer 'odd' {CODE}"),
    "Lambda in a network inside": Evil(_layer(NESTED), f"the layer 'odd' {CODE}"),
    "TFSMLayer": Evil(_layer(layer("TFSMLayer", filepath="/tmp/x")), "another model from a file"),
    "TFSMLayer called as a function": Evil(
        _layer(layer("Activation", activation=function("keras.layers", "TFSMLayer"))),
        "calls the function keras.layers.TFSMLayer",
    ),
    "TorchModuleWrapper": Evil(_layer(layer("TorchModuleWrapper", module="")), CODE),
    "registered class": Evil(
        _layer(layer("Mine", None) | {"registered_name": "mine>Mine"}), "of the class mine>Mine"
    ),
    "class of the module os": Evil(_layer(layer("system", "os")), "of the class os.system"),
    "class of builtins": Evil(_layer(layer("eval", "builtins")), "of the class builtins.eval"),
    "function os.system": Evil(_layer(SHELL), "calls the function os.system"),
    "StringLookup of a file": Evil(_layer(VOCABULARY), "works on texts and can read files"),
    "config.json 100,000 deep": Evil(_deep, "nested more than 100 deep"),
    "Dense(10**9)": Evil(_wide, "needs more memory than", slow=True),
    "external HDF5 link": Evil(_weights(external_link), LINK),
    "external HDF5 storage": Evil(_weights(external_storage), ELSEWHERE),
    "virtual HDF5 dataset": Evil(_weights(virtual_dataset), ELSEWHERE),
    "HDF5 soft link loop": Evil(_weights(_soft_link_loop), LINK),
    "HDF5 dataset of terabytes": Evil(_weights(_terabytes), "claim 4,398,0"),
    "zip bomb": Evil(bomb, "is too large to be one"),
    "smaller zip bomb": Evil(lambda folder, good: bomb(folder, good, 1), "would inflate from"),
    "zip in the zip": Evil(_with_member("more.zip"), "no part of a Keras file"),
    "overlapping members": Evil(_changed(_overlapping), "lie over each other"),
    "two config.json": Evil(_twice, "it holds 'config.json' twice"),
    "a member ../": Evil(_with_member("../evil.py"), "leads out of the archive"),
    "a vocabulary": Evil(_with_member("assets/vocabulary.txt"), "needs none"),
    "lying sizes": Evil(_changed(_lying, deflated=True), "larger than the archive says"),
    "everybody may write it": Evil(_with_mode(0o646), "every user can write to it: chmod o-w"),
    "everybody may replace it": Evil(_in_open_folder, "every user can put another file in its"),
    "another pin": Evil(_with_mode(0o644), f"it is pinned to {'0' * 64}", pin="0" * 64),
    "a pipe": Evil(_fifo, "this is a pipe"),
    "HDF5 under another name": Evil(_legacy_h5, "this is an HDF5 file"),
    "a pickle": Evil(_content(pickle.dumps({"weights": 1})), "this is a Python pickle"),
}  # fmt: skip
