"""Provenance of results: code revision, library versions, file checksums, and what has changed."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from PIL import features

_PACKAGES: Final = (
    "tagpose", "torch", "torchvision", "timm", "numpy", "numba", "pillow", "opencv-python-headless",
    "pycocotools",
)  # fmt: skip
_MISSING: Final = "missing"


def package_versions() -> dict[str, str]:
    """Return versions of Python, the machine, the JPEG decoder, CUDA and all relevant packages."""
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "jpeg": f"{features.version('jpg')} (turbo {features.version('libjpeg_turbo')})",
        "cuda": f"{torch.version.cuda}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        **{package: version(package) for package in _PACKAGES},
    }


def fingerprint(file: Path) -> dict[str, str]:
    """Return the path and the SHA-256 of a file, or of the names and contents of a folder."""
    if file.is_dir():
        digest = hashlib.sha256()
        for item in sorted(path for path in file.iterdir() if path.is_file()):
            digest.update(f"{item.name}\0{fingerprint(item)['sha256']}\n".encode())
        return {"file": str(file), "sha256": digest.hexdigest()}
    with file.open("rb") as content:
        return {"file": str(file), "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def git_revision(folder: Path) -> str:
    """Return the commit of a checkout, with "-dirty" if it is modified; "missing" without git."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _MISSING
    return result.stdout.strip()


def flatten_keys(content: object, prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts into one, with dotted keys."""
    if not isinstance(content, dict):
        return {prefix: content}
    return {
        name: leaf
        for key, value in content.items()
        for name, leaf in flatten_keys(value, f"{prefix}.{key}".lstrip(".")).items()
    }


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each name whose values differ."""
    names = sorted({*before, *now})
    pairs = [(name, before.get(name, _MISSING), now.get(name, _MISSING)) for name in names]
    return [f"{name} was {old}, is {new}" for name, old, new in pairs if old != new]
