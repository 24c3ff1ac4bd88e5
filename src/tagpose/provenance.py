"""Provenance of results: library versions and file checksums that can change the numbers."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from PIL import features

_PACKAGES: Final = (
    "tagpose", "torch", "torchvision", "timm", "numpy", "scipy", "pillow", "opencv-python-headless",
    "pycocotools",
)  # fmt: skip


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
    """Return the path and the SHA-256 of a file."""
    with file.open("rb") as content:
        return {"file": str(file), "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
