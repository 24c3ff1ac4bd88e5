"""Reference figures computed with MMPose 0.x, and where they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_INCLUDED = Path(__file__).parent


@pytest.fixture(scope="session")
def figure() -> Callable[[str], Path]:
    """Find a file in TAGPOSE_REFERENCE or this folder; skip the test if it is missing."""
    folder = Path(os.environ.get("TAGPOSE_REFERENCE", _INCLUDED))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {folder}")
        return path

    return find
