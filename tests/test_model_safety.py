"""Which model files are taken, and which are refused. The evil ones are in trials/evil_models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import DrawImage
from daemon_process import Project, wait_for
from evil_files import (
    EVIL,
    function,
    lambda_layer,
    layer,
    members_of,
    with_layer,
    with_weights,
    written,
)

from classifier import archive, layers, modelfile, weights
from classifier.compile import compiled
from classifier.errors import ModelError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def good(shipped_model: Path) -> dict[str, bytes]:
    return members_of(shipped_model)


@pytest.fixture
def model(shipped_model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    shutil.copy(shipped_model, path)
    return path


def taken(path: Path, pin: str | None = None) -> str:
    with modelfile.opened(path, pin) as (_, digest):
        return digest


# The file


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o664, 0o775])
def test_what_others_can_only_read(mode: int, model: Path, shipped_model: Path) -> None:
    model.chmod(mode)
    assert taken(model) == modelfile.digest_of(shipped_model)


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_what_others_can_write(mode: int, model: Path) -> None:
    model.chmod(mode)
    with pytest.raises(ModelError, match=f"chmod o-w {model}"):
        taken(model)
    digest = modelfile.digest_of(model)
    for pin in (digest, digest.upper()):
        assert taken(model, pin) == digest


def test_any_folder_on_the_way_counts(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    moved = model.rename(tmp_path / "a" / "b" / "model.keras")
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(ModelError, match=f"chmod o-w {tmp_path}/a,"):
        taken(moved)
    (tmp_path / "a").chmod(0o1777)  # as /tmp is: nobody else can move b away
    taken(moved)


@needs_root
def test_what_somebody_else_put_into_an_open_folder(model: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    taken(model)
    os.chown(model, 12345, 12345)
    with pytest.raises(ModelError, match="belongs to another user"):
        taken(model)
    tmp_path.chmod(0o755)  # here somebody else was let put it
    taken(model)


def test_where_programs_are_kept_counts_too(
    shipped_model: Path, compiled_cache: Path, tmp_path: Path
) -> None:
    cache = shutil.copytree(compiled_cache, tmp_path / "state" / "models")
    assert compiled(shipped_model, cache).litert is not None
    for folder, how in ((cache, "chmod o-w"), (cache.parent, f"chmod o-w {cache.parent}")):
        folder.chmod(0o777)
        with pytest.raises(ModelError, match=how):
            compiled(shipped_model, cache)
        folder.chmod(0o755)


@needs_root
def test_programs_that_somebody_else_put_there(
    shipped_model: Path, compiled_cache: Path, tmp_path: Path
) -> None:
    cache = shutil.copytree(compiled_cache, tmp_path / "models")
    os.chown(cache, 12345, 12345)
    with pytest.raises(ModelError, match="belongs to another user: run classifyd as that user"):
        compiled(shipped_model, cache)


def test_links_are_followed_and_judged(model: Path, tmp_path: Path) -> None:
    for name in ("links", "models"):
        (tmp_path / name).mkdir()
    target = model.rename(tmp_path / "models" / "v3.keras")
    (tmp_path / "links" / "middle.keras").symlink_to("../models/v3.keras")
    current = tmp_path / "current.keras"
    current.symlink_to("links/middle.keras")
    taken(current)
    for folder in ("links", "models"):
        (tmp_path / folder).chmod(0o777)
        with pytest.raises(ModelError, match=f"chmod o-w {tmp_path / folder}"):
            taken(current)
        (tmp_path / folder).chmod(0o755)
    target.chmod(0o666)
    with pytest.raises(ModelError, match="every user can write to it"):
        taken(current)
    target.unlink()
    with pytest.raises(ModelError, match="no model here"):
        taken(current)


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "model.keras").symlink_to("model.keras")
    with pytest.raises(ModelError, match="cannot be read"):
        taken(tmp_path / "model.keras")


@pytest.mark.parametrize("pin", ["0" * 64, "beginning", ""])
def test_another_pin(pin: str, model: Path) -> None:
    if pin == "beginning":  # a file with the same first digits can be made
        pin = modelfile.digest_of(model)[:20]
    with pytest.raises(ModelError, match=modelfile.digest_of(model)):
        taken(model, pin)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model here"):
        taken(tmp_path / "model.keras")
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(ModelError, match="this is a folder"):
        taken(tmp_path / "model.keras")
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="a device"):
        taken(tmp_path / "zero.keras")


@pytest.mark.parametrize("name", ["model.h5", "model.pb", "model"])
def test_only_the_keras_format_is_taken(name: str, model: Path) -> None:
    with pytest.raises(ModelError, match=r"save it again with model.save\('NAME.keras'\)"):
        taken(model.rename(model.with_name(name)))


def test_a_file_of_terabytes(model: Path) -> None:
    os.truncate(model, 1 << 40)
    with pytest.raises(ModelError, match="1,099,511,627,776 bytes"):
        taken(model)


def test_written_to_between_digest_and_copy(model: Path, tmp_path: Path) -> None:
    with modelfile.opened(model) as (file, digest):
        with model.open("ab") as writer:
            writer.write(b"more")
        with pytest.raises(ModelError, match="written to while it was read"):
            modelfile.copy(file, digest, tmp_path / "copy")


def test_the_copy_is_for_this_user_alone(model: Path, tmp_path: Path) -> None:
    with modelfile.opened(model) as (file, digest):
        modelfile.copy(file, digest, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copy").read_bytes() == model.read_bytes()


def test_a_cache_that_everybody_can_write_to(
    shipped_model: Path, compiled_cache: Path, tmp_path: Path
) -> None:
    cache = shutil.copytree(compiled_cache, tmp_path / "cache")
    assert compiled(shipped_model, cache).litert is not None
    cache.chmod(0o777)
    with pytest.raises(ModelError, match=f"chmod o-w {cache}"):
        compiled(shipped_model, cache)


# The classes


def test_networks_of_many_kinds_pass(small_models: Path) -> None:
    for path in small_models.glob("*.keras"):
        if path.stem not in ("lambda", "damaged"):
            layers.check(archive.member(path, "config.json") or b"")
            weights.check(archive.member(path, "model.weights.h5") or b"")


@pytest.mark.parametrize(
    "harmless",
    [
        layer("Add", "keras.src.ops.numpy") | {"registered_name": "Add"},
        layer("Dense", activation=function("builtins", "relu")),
        layer("Dense", activation=function("keras.activations", "gelu")),
        layer("Activation", activation=layer("LeakyReLU")),
        {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "dtype": "float32"}},
    ],
)  # fmt: skip
def test_what_is_let_through(harmless: Any, good: Any) -> None:
    layers.check(with_layer(good, harmless)["config.json"])


@pytest.mark.parametrize(
    "harmful",
    [
        {"class_name": "Lambda", "config": {}},  # the old format, which safe mode does not reach
        {"class_name": "Dense", "config": {}},
        layer("Dense", "keras.src.layers.core.dense"),
        layer("get_file", "keras.utils"),
        layer("deserialize", "keras.losses"),  # a function of a module of which all classes pass
        layer("Dense", ["keras.layers"]),  # type: ignore[arg-type]
        layer(["Dense"]),  # type: ignore[arg-type]
        layer("Dense") | {"registered_name": "other>Dense"},
        layer("Dense", kernel_initializer=layer("Lambda")),
        layer("Activation", activation=function("builtins", "eval")),
        layer("Activation", activation=function("keras.activations", "deserialize")),
        layer("Activation", activation=function("keras.activations", ["relu"])),  # type: ignore[arg-type]
        {"class_name": "__lambda__", "config": {"value": ""}},
        {"class_name": "__typespec__", "config": [], "spec_name": "TensorSpec"},
        layer("__tensor__", "os"),
        layer("Dense", inner=[[[[{"x": layer("Lambda")}]]]]),
        layer("Dense") | {"compile_config": {"loss": function("os", "system")}},
    ],
)  # fmt: skip
def test_what_is_not_let_through(harmful: Any, good: Any) -> None:
    with pytest.raises(ModelError):
        layers.check(with_layer(good, harmful)["config.json"])


def test_names_out_of_a_model_do_nothing_to_a_terminal(good: Any) -> None:
    evil = "\x1b]0;evil\x07"
    for harmful in (
        layer(evil),
        layer("Dense", evil),
        layer("Dense") | {"registered_name": evil},
        layer("Dense") | {"config": {"name": evil, "kernel_initializer": layer("Lambda")}},
    ):
        with pytest.raises(ModelError) as refused:
            layers.check(with_layer(good, harmful)["config.json"])
        assert str(refused.value).isprintable()

    def link(file: h5py.File) -> None:
        file[evil] = h5py.SoftLink("/x")

    with pytest.raises(ModelError, match="is a link") as refused:
        weights.check(with_weights(good, link)["model.weights.h5"])
    assert str(refused.value).isprintable()


def test_how_it_was_trained_does_not_matter(good: Any) -> None:
    """Keras is told not to look at that, and a loss of somebody's own is nothing unusual."""
    config = json.loads(good["config.json"])
    config["compile_config"] = {"loss": function("their_code", "their_loss")}
    layers.check(json.dumps(config).encode())


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"\xff", b"7", b"[" * 100_000])
def test_a_config_that_is_none(config: bytes) -> None:
    with pytest.raises(ModelError, match=r"config.json"):
        layers.check(config)


# The weights


def test_groups_that_hold_each_other_come_to_an_end(good: Any) -> None:
    def tie(file: h5py.File) -> None:
        file["a/b/again"] = file.create_group("a/b")
        file["a/b/top"] = file["/"]

    weights.check(with_weights(good, tie)["model.weights.h5"])


@pytest.mark.parametrize("name", ["external", "soft"])
def test_links_are_found_deep_inside(name: str, good: Any) -> None:
    link = h5py.SoftLink("/x") if "soft" in name else h5py.ExternalLink("/etc/passwd", "/x")

    def hide(file: h5py.File) -> None:
        file.create_group("layers/very/deep")["link"] = link

    with pytest.raises(ModelError, match="/layers/very/deep/link in its weights is a link"):
        weights.check(with_weights(good, hide)["model.weights.h5"])


def test_a_stored_type_is_not_numbers(good: Any) -> None:
    def store(file: h5py.File) -> None:
        file["type"] = h5py.string_dtype()

    with pytest.raises(ModelError, match="neither group nor numbers"):
        weights.check(with_weights(good, store)["model.weights.h5"])


def test_cut_weights(good: Any) -> None:
    with pytest.raises(ModelError, match="damaged"):
        weights.check(good["model.weights.h5"][:5000])


# The process that opens it


@pytest.mark.slow
def test_a_network_of_terabytes(good: Any, tmp_path: Path) -> None:
    """It ends by the limit of its process, and not by the kernel that is short of memory."""
    evil = EVIL["Dense(10**9)"]
    with pytest.raises(ModelError, match=evil.reason):
        compiled(evil.make(tmp_path, good), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_limits_hold() -> None:
    script = """
import resource
from classifier.limits import limit_this_process
limit_this_process(1 << 30, 7)
print(*(resource.getrlimit(limit)[1] for limit in
        (resource.RLIMIT_DATA, resource.RLIMIT_CORE)), resource.getrlimit(resource.RLIMIT_CPU)[0])
print([line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")][0].split()[1])
try:
    bytes(2 << 30)
except MemoryError:
    print("no more")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    cpu = 7 * len(os.sched_getaffinity(0))
    assert done.stdout.split() == [str(1 << 30), "0", str(cpu), "1", "no", "more"]


# The daemon


def test_a_running_daemon_keeps_its_model(
    good: Any, shipped_model: Path, compiled_cache: Path, draw_image: DrawImage, tmp_path: Path
) -> None:
    model = tmp_path / "model.keras"
    shutil.copy(shipped_model, model)
    digest = modelfile.digest_of(model)
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", compiled_cache, model=str(model))
    with project.started("run") as daemon:
        draw_image(project.inbox / "before.jpg", 1)
        project.wait_for_rows(1)
        written(tmp_path, with_layer(good, lambda_layer())).replace(model)
        old = daemon.workers
        for worker in old:  # their successors load the model anew
            os.kill(worker, signal.SIGKILL)
        wait_for(lambda: len(daemon.workers) == 2 and not {*old} & {*daemon.workers}, "new workers")
        draw_image(project.inbox / "after.jpg", 2)
        project.wait_for_rows(2)
        assert daemon.stop() == 0
    assert {row["model"] for row in project.rows} == {digest[:12]}
    assert [row["status"] for row in project.rows] == ["classified"] * 2

    refused = project.classifyd("run", "--once")
    assert refused.returncode == 2
    assert f"{model}: the layer 'odd' brings Python code along" in refused.stderr

    project.configure(model=str(model), model_sha256=digest)
    pinned = project.classifyd("check")
    assert pinned.returncode == 2
    assert f"it is pinned to {digest}" in pinned.stderr
    shutil.copy(shipped_model, model)
    model.chmod(0o666)
    checked = project.classifyd("check")
    assert checked.returncode == 0, checked.stderr
    assert f"{digest[:12]} (pinned) {model}" in checked.stdout
