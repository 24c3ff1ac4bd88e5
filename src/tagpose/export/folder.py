"""This file fills a folder that finds people without torch and without tagpose."""

import inspect
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

from tagpose import geometry
from tagpose.evaluation.rows import write_json
from tagpose.export.description import Exported, description
from tagpose.export.network import WholeTest, write_onnx

PACKAGE: Final = "tagpose_numpy"  # in the folder; its files lie as those of tagpose do

_HERE: Final = Path(__file__).parent
# What needs nothing but numpy, scipy and Pillow, and goes along as it stands.
_COPIED: Final = (
    "codec/__init__.py",
    "codec/grouping.py",
    "data/__init__.py",
    "data/sources.py",
    "export/__init__.py",
    "export/numpy_decoder.py",
    "export/numpy_filling.py",
    "export/numpy_maps.py",
    "export/numpy_peaks.py",
    "export/numpy_view.py",
)
_CONSTANTS: Final = ("MULTIPLE", "LONGEST", "SIDE")
_FRAMES: Final = (
    geometry.view_frame,
    geometry.invert,
    geometry.apply,
    geometry.input_size,
    geometry.input_sizes,
    geometry.fitting_side,
    geometry.multiple,
    geometry.whole_frame,
)


def write_folder(folder: Path, exported: Exported) -> float:
    """Write the network, what is known of it, and what turns its outputs into people.

    Args:
        folder: to make; whole, or not at all.
        exported: what goes into it.

    Returns:
        How far the fields are from PyTorch's, in shares of the largest value.

    Raises:
        FileExistsError: there is such a folder.
        ValueError: the fields are too far from PyTorch's.
    """
    with _whole(folder) as partial:
        write_json(partial / "metadata.json", description(exported))
        test = WholeTest(exported.network, mirror=exported.mirror)
        apart = write_onnx(partial / "network.onnx", test)
        _write_package(partial / PACKAGE)
        shutil.copyfile(_HERE / "texts/example.txt", partial / "example.py")
        (partial / "README.md").write_text(_readme(exported))
    return apart


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which has its name at the end, if all went well."""
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it, or name another as_name=")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_package(package: Path) -> None:
    """Write what of tagpose runs with numpy, scipy and Pillow alone."""
    for name in _COPIED:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_HERE.parent / name, package / name)
    (package / "__init__.py").write_text('"""What of tagpose needs no torch, as it stands."""\n')
    (package / "geometry.py").write_text(_frames())


def _frames() -> str:
    """Of `geometry` what an image's frame needs; the rest imports nouns that need torch."""
    head = '"""This file makes the frame of an image: a part of tagpose.geometry."""\n\n'
    imports = "import math\nfrom collections.abc import Sequence\n\nimport numpy as np\n\n"
    constants = "".join(f"{name} = {getattr(geometry, name)!r}\n" for name in _CONSTANTS)
    functions = [inspect.getsource(function) for function in _FRAMES]
    return "\n\n".join([head + imports + constants, *functions])


def _readme(exported: Exported) -> str:
    """What the folder is, and how it is used."""
    skeleton = exported.network.skeleton
    return Template((_HERE / "texts/README.md").read_text()).substitute(
        architecture=exported.network.architecture,
        skeleton=skeleton.name,
        keypoints=skeleton.size,
        side=exported.side,
        heatmap_stride=exported.network.strides[-1],
        stride=exported.network.strides[0],
        views=1 + exported.mirror,
        mirror="with" if exported.mirror else "without",
        licence=exported.licence,
        package=PACKAGE,
    )
