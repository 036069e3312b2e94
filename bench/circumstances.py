"""When, on what, and of which commit something was measured."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.setup import ROOT, processors

LIBRARIES = ("ai-edge-litert", "keras", "tensorflow-cpu", "tensorflow", "opencv-python-headless",
             "numpy", "matplotlib", "ray")  # fmt: skip


def circumstances() -> dict[str, str]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed": "yes" if _git("status", "--porcelain") else "",
        "machine": f"{_processor()}, {len(processors())} processors, "
        f"Linux {platform.release().partition('-')[0]} {platform.machine()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *_libraries()]),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor() -> str:
    """Its name, and what of it decides how fast a network runs."""
    names, flags = "an unknown processor", ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            names = value.strip()
        elif key.strip() == "flags":
            flags = f" {value} "
    has = [
        name for name, flag in (("AVX2", "avx2"), ("AVX-512", "avx512f")) if f" {flag} " in flags
    ]
    return f"{names} ({', '.join(has)})" if has else names


def _libraries() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
