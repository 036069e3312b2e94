"""Models of other labels, and the network of one that is compiled: nothing has to be compiled."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from classifier import modelfile

CONTRACT = "contract.json"


def variant(model: Path, cache: Path, target: Path, mark: str) -> str:
    """Write `target`: a copy of a model whose labels begin with `mark`; the digest of it.

    cache: of compiled models. It holds the model, and then also the copy, compiled.
    """
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(target, "w") as new:
        contract = json.loads(old.read(CONTRACT))
        contract["labels"] = [mark + label for label in contract["labels"]]
        for member in old.infolist():
            if member.filename != CONTRACT:
                new.writestr(member, old.read(member))
        new.writestr(CONTRACT, json.dumps(contract))
    digest, before = modelfile.digest_of(target), modelfile.digest_of(model)
    (entry,) = cache.glob(f"{before}-*")
    copy = cache / entry.name.replace(before, digest)
    shutil.copytree(entry, copy)
    shutil.copy(target, copy / "model.keras")
    kept = json.loads((copy / CONTRACT).read_text())
    kept["labels"] = contract["labels"]
    (copy / CONTRACT).write_text(json.dumps(kept))
    return digest
