"""Figures of the established implementation, and where they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_OWN_COPY = Path(__file__).parent


@pytest.fixture(scope="session")
def figure() -> Callable[[str], Path]:
    """Path of a figure in TAGPOSE_REFERENCE (or this folder); skips the test where it is absent."""
    folder = Path(os.environ.get("TAGPOSE_REFERENCE", _OWN_COPY))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {folder}")
        return path

    return find
