"""config.yaml: what is right is taken as it is meant, what is wrong is told with its line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from pydantic import BaseModel

from classifier.contract import Description
from daemon.errors import SettingsError
from daemon.settings import DEFAULT_MODEL, Settings, load

MINIMUM = "inbox: in\nresults: out\nstate: state\n"


def write(folder: Path, text: str) -> Path:
    for name in ("in", "out/thumbnails"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not (folder / "loop").is_symlink():
        (folder / "loop").symlink_to("loop")
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [line.removeprefix(f"{path}") for line in str(caught.value).splitlines()]


def test_the_shipped_file_holds_every_setting_with_its_default(tmp_path: Path) -> None:
    given = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    settings = load(ROOT / "config.yaml")
    assert set(given) == set(Settings.model_fields)
    minimal = load(write(tmp_path, MINIMUM))
    assert settings.model == DEFAULT_MODEL
    for name in set(given) - {"inbox", "results", "state"}:
        assert getattr(settings, name) == getattr(minimal, name), name
        section = getattr(settings, name)
        if isinstance(section, BaseModel):
            assert set(given[name]) == set(type(section).model_fields), name


def test_the_shipped_file_says_what_every_setting_is_for() -> None:
    lines = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()
    for name in Settings.model_fields:
        (number,) = (n for n, line in enumerate(lines) if line.startswith(f"{name}:"))
        # A section is explained above it, or line by line within it.
        near = lines[number - 1 : number + 2]
        assert any(line.strip().startswith("#") for line in near), name


def test_paths_are_relative_to_the_file_and_absolute_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    text = MINIMUM.replace("state: state", "state: ~/state") + "model: ../m.keras\n"
    path = write(tmp_path, text)
    monkeypatch.chdir("/")
    settings = load(Path(os.path.relpath(path)))
    assert settings.inbox == tmp_path / "in"
    assert settings.state == tmp_path / "somebody" / "state"
    assert settings.model == tmp_path.parent / "m.keras"


def test_labels_describe_a_model(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMUM + "labels: {names: [cat, dog], scaling: 0..1}\n")
    assert load(path).description == Description(("cat", "dog"), "0..1", None)


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        "inbox: in\nresults: in/out\nstate: state\nmin_confidence: 1.5\nthumbnails:\n"
        "  when: sometimes\n  size: 3\nlimits: {megapixels: .nan}\nworkers: many\ntypo: 1\n"
        "extensions: [jpg, '*.png']\nworkers: 2\n"
    )
    found = mistakes(tmp_path, text)
    assert [line.split(": ")[0] for line in found] == [
        ":2", ":4", ":6", ":7", ":8", ":10", ":11", ":12",
    ]  # fmt: skip
    assert "is inside the inbox" in found[0]
    assert found[1].endswith("min_confidence: input should be less than or equal to 1; found 1.5")
    assert "thumbnails.when" in found[2]
    assert "thumbnails.size: there is no such setting" in found[3]
    assert "limits.megapixels" in found[4]
    assert found[5] == ":10: typo: there is no such setting"
    assert "extensions.1: must be letters and digits" in found[6]
    assert found[7] == ":12: workers: is given twice"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inbox: nowhere\nresults: out\nstate: state\n", ":1: inbox: there is no folder"),
        ("inbox: config.yaml\nresults: out\nstate: state\n", "is not a folder"),
        ("inbox: in\nresults: in/out\nstate: state\n", ":2: results: .* is inside the inbox"),
        ("inbox: in\nresults: out\nstate: in\n", ":3: state: .* is inside the inbox"),
        ("inbox: in\nresults: out\nstate: out/thumbnails\n", ":3: state: .*among our own thumb"),
        ("inbox: in\nresults: config.yaml/out\nstate: state\n", "is not a folder"),
        ("inbox: in\nresults: out\n", ":1: state: is missing"),
        ("inbox: 3\nresults: out\nstate: state\n", ":1: inbox: should be a path; found 3"),
        ("inbox:\nresults: out\nstate: state\n", ":1: inbox: should be a path; found None"),
        ("inbox: ~nobody-of-this-name/in\nresults: out\nstate: s\n", ":1: inbox: there is no user"),
        ('inbox: in\nresults: "a\\0b"\nstate: s\n', ":2: results: no path can hold a NUL"),
        (f"inbox: {'x' * 300}\nresults: out\nstate: s\n", ":1: inbox: .*File name too long"),
        ("inbox: loop\nresults: out\nstate: s\n", ":1: inbox: .*Too many levels"),
        ("inbox: out/thumbnails\nresults: out\nstate: s\n", ":1: inbox: .*among our own"),
        (f"inbox: in\nresults: {'x' * 300}\nstate: s\n", ":2: results: .*File name too long"),
        ("<<: {inbox: nowhere}\nresults: out\nstate: s\n", ":1: inbox: there is no folder"),
        (MINIMUM + "thumbnails: all\n", ":4: thumbnails: should be settings of its own"),
        (MINIMUM + "extensions: jpg\n", ":4: extensions: should be a list; found 'jpg'"),
        (MINIMUM + "3: x\n", ":4: 3: should be a name"),
        (MINIMUM + "workers: !!int many\n", "holds a value that cannot be read"),
        (MINIMUM + f"workers: {'9' * 5000}\n", "holds a value that cannot be read"),
        (MINIMUM + "workers: !!bool maybe\n", "holds a value that cannot be read"),
        (MINIMUM + "batch: {<<: 3}\n", ":4: is not YAML"),
        ("!!set {inbox, results}\n", "must be `name: value` lines"),
        (MINIMUM + "thumbnails:\n", ":4: thumbnails: .*found None"),
        (MINIMUM + "min_confidence: '0.5'\n", ":4: min_confidence: .*found '0.5'"),
        (MINIMUM + "workers: yes\n", ":4: workers: .*found True"),
        (MINIMUM + "settle_seconds: .inf\n", ":4: settle_seconds"),
        (MINIMUM + "labels: {names: [cat]}\n", ":4: labels.names: .*at least 2 entries"),
        (MINIMUM + "labels: {names: [yes, no]}\n", ":4: labels.names.0: .*in quotes; found True"),
        (
            MINIMUM + "labels: {names: [a, b], scaling: x}\n",
            ":4: labels.scaling: should be 'graph', '0..1' or '-1..1'; found 'x'",
        ),
        ("- inbox\n", "must be `name: value` lines"),
        ("", "must be `name: value` lines"),
        ("inbox: [\n", ": is not YAML"),
        (MINIMUM + "? [a, b]\n: 1\n", ":4"),
        (MINIMUM + "a: &a [1]\nb: *a\n", ":4: a: there is no such setting"),
        (MINIMUM + "x: !!python/object:os.system {}\n", ":4: is not YAML"),
        (MINIMUM + "\x07: 1\n", "is not YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError, match=said):
        load(path)


def nines(item: str, depth: int) -> str:
    """Nine aliases to nine aliases and so on: 9 to the power of the depth in a few lines."""
    inner = ["x"] + [", ".join([f"*a{n}"] * 9) for n in range(depth - 1)]
    return "".join(f"a{n}: &a{n} {item.format(text)}\n" for n, text in enumerate(inner))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nines("[{}]", 12), "over and over"),
        (nines("{{k: [{}]}}", 12), "over and over"),
        (nines("{{<<: [{}]}}", 12).replace("[x]", "{k: v}"), "over and over"),
        (MINIMUM + "labels: &a {names: *a}\n", "over and over"),
        ("[" * 20_000, "nested too deeply"),
        (MINIMUM + "labels: " + "{names: " * 20_000, "nested too deeply"),
        ("#" * 10_000_000, "too large"),
    ],
    ids=["lists", "mappings", "merges", "circle", "deep list", "deep mapping", "large"],
)
def test_a_file_that_would_take_for_ever_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(write(tmp_path, text))


def test_anchors_and_merges_are_as_yaml_has_them(tmp_path: Path) -> None:
    text = MINIMUM + "settle_seconds: &two 2.5\nrescan_seconds: *two\nbatch: {<<: {size: 3}}\n"
    settings = load(write(tmp_path, text))
    assert (settings.rescan_seconds, settings.batch.size) == (2.5, 3)


def test_a_folder_may_be_called_by_a_date(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "inbox: in\nresults: 2026-01-01\nstate: 2026-13-99\n"))
    assert settings.results == tmp_path / "2026-01-01"
    assert settings.state == tmp_path / "2026-13-99"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no configuration here"):
        load(tmp_path / "config.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "config.yaml").write_bytes(b"inbox: \xff\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "config.yaml")


def test_an_inbox_by_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to("true")
    text = "inbox: link\nresults: true/out\nstate: state\n"
    assert "is inside the inbox" in mistakes(tmp_path, text)[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_folders_that_may_not_be_used(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMUM)
    (tmp_path / "in").chmod(0)
    with pytest.raises(SettingsError, match="cannot be read by this user"):
        load(path)


def test_backfill_needs_no_inbox(tmp_path: Path) -> None:
    path = write(tmp_path, "inbox: nowhere\nresults: out\nstate: state\n")
    assert load(path, need_inbox=False).inbox == tmp_path / "nowhere"


@pytest.mark.parametrize("name", ["results", "state"])
def test_a_folder_that_every_user_can_write_to_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inbox").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("inbox: inbox\nresults: results\nstate: state\n")
    (tmp_path / name).mkdir()
    load(config)
    (tmp_path / name).chmod(0o1777)
    with pytest.raises(SettingsError, match=f"{name}: .* can be written by every user"):
        load(config)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, command: str) -> None:
    path = write(tmp_path, "inbox: in\nresults: /proc/results\nstate: state\n")
    done = subprocess.run(
        [sys.executable, "-m", "daemon", command, "--config", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "/proc" in done.stderr
    assert "Name another in config.yaml" in done.stderr or "cannot be written" in done.stderr
