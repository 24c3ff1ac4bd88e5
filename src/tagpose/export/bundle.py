"""Export of a network to a bundle: a folder that predicts poses without torch and tagpose."""

import math
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any, Final, NamedTuple

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, decoder_to_dict
from tagpose.data.images import load_image
from tagpose.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tagpose.export.bundle_runtime import preprocess
from tagpose.export.onnx import ExportableNetwork, max_relative_difference, write_onnx
from tagpose.export.precision import convert_to_float16, convert_to_int8
from tagpose.io import atomic_folder, write_json
from tagpose.models.network import PoseNetwork
from tagpose.provenance import fingerprint
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import MAX_STRIDE, MIN_SIDE

PACKAGE: Final = (
    "tagpose_numpy"  # package of the bundle; its files have the same paths as in tagpose
)

_EXPORT: Final = Path(__file__).parent
_PROGRAMS: Final = ("example", "webcam", "coco_results")  # programs of the bundle
# Files that import only numpy, numba, Pillow and each other.
_BUNDLED_FILES: Final = (
    "codec/__init__.py",
    "codec/assignment.py",
    "codec/block_bounds.py",
    "codec/compilation.py",
    "codec/decoder.py",
    "codec/decoding_maps.py",
    "codec/grouping.py",
    "codec/interpolation.py",
    "codec/lazy_heatmap.py",
    "codec/local_maxima.py",
    "codec/missing_keypoints.py",
    "codec/peak_list.py",
    "codec/peaks.py",
    "codec/subpixel.py",
    "codec/tile_search.py",
    "codec/tiling.py",
    "codec/warm_up.py",
    "data/__init__.py",
    "data/bit_depth.py",
    "data/images.py",
    "data/input_size.py",
    "export/__init__.py",
    "export/bundle_runtime.py",
    "geometry.py",
    "skeletons/__init__.py",
    "skeletons/coco.py",
    "skeletons/skeleton.py",
    "structures.py",
)

_PACKAGES: Final = (
    "tagpose",
    "torch",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numba",
    "numpy",
)


class ExportSpec(NamedTuple):
    """A network to export and its test-time options."""

    network: PoseNetwork
    checkpoint: Path  # file of the network's weights
    decoder: AssociativeEmbeddingDecoder
    input_size: int  # shorter side of the input, input pixels
    flip_test: bool  # whether the flip test is part of the exported network
    license: str  # terms under which the weights may be used
    static_shape: tuple[int, int] | None = None  # height, width of the only input shape
    precision: str = "float32"  # of the network but its head: "float32", "float16" or "int8"
    calibration_images: Sequence[Path] = ()  # images for int8


def bundle_name(spec: ExportSpec) -> str:
    """Return the default name of a bundle."""
    size = "x".join(map(str, spec.static_shape or [spec.input_size]))
    name = f"{spec.network.architecture}_{spec.network.skeleton.name}_{size}"
    return name if spec.precision == "float32" else f"{name}_{spec.precision}"


def write_bundle(folder: Path, spec: ExportSpec) -> float:
    """Write a bundle: the network, its metadata, the decoder and an example.

    Args:
        folder: bundle to create; nothing is left after an error.
        spec: network and test-time options.

    Returns:
        Maximum difference between the outputs of ONNX and PyTorch for random pixels, relative to
        the largest output.

    Raises:
        FileExistsError: if the folder exists.
        ValueError: if the outputs differ too much.
    """
    with atomic_folder(folder, "output_name=NAME") as partial:
        write_json(partial / "metadata.json", build_metadata(spec))
        difference = _write_network(partial / "network.onnx", spec)
        _write_package(partial / PACKAGE)
        for program in _PROGRAMS:
            shutil.copyfile(_EXPORT / f"templates/{program}.txt", partial / f"{program}.py")
        (partial / "README.md").write_text(_readme(spec))
    return difference


def _write_network(file: Path, spec: ExportSpec) -> float:
    """Write the network in its precision, and return its difference from PyTorch's outputs."""
    network = ExportableNetwork(spec.network, flip_test=spec.flip_test)
    write_onnx(file, network, spec.static_shape)
    if spec.precision == "float16":
        convert_to_float16(file)
    elif spec.precision == "int8":
        images = map(load_image, spec.calibration_images)
        inputs = (preprocess(image, spec.input_size, spec.static_shape) for image in images)
        convert_to_int8(file, (batch.images for batch in inputs))
    difference = max_relative_difference(file, network, spec.static_shape)
    if not math.isfinite(difference):
        raise ValueError(
            f"the outputs of the network are not finite in {spec.precision}, as its features are "
            "too large; use precision=float32"
        )
    return difference


def _write_package(package: Path) -> None:
    """Copy the files of tagpose that the bundle needs, and rename the package in their imports."""
    for name in _BUNDLED_FILES:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        source = (_EXPORT.parent / name).read_text()
        (package / name).write_text(source.replace("from tagpose.", f"from {package.name}."))
    (package / "__init__.py").write_text('"""Files of tagpose that do not need torch."""\n')


def _readme(spec: ExportSpec) -> str:
    """Return the README of the bundle."""
    skeleton = spec.network.skeleton
    if spec.static_shape:
        shape = "B is 1, H is {} and W is {}".format(*spec.static_shape)
        resized = "fit into this input, and pads it with black"
    else:
        shape = f"H and W are multiples of {MAX_STRIDE}, at least {MIN_SIDE}"
        resized = (
            f"an input whose shorter side has\n{spec.input_size} pixels. "
            "Images with inputs of the same size can be stacked to a batch"
        )
    return Template((_EXPORT / "templates/README.md").read_text()).substitute(
        shape=shape,
        resized=resized,
        precision=spec.precision,
        architecture=spec.network.architecture,
        skeleton=skeleton.name,
        keypoints=skeleton.size,
        heatmap_stride=spec.network.strides[-1],
        stride=spec.network.strides[0],
        tag_count=(1 + spec.flip_test) * spec.network.spec.tag_count,
        tag_maps=spec.network.spec.tag_maps,
        flip_test="with" if spec.flip_test else "without",
        license=spec.license,
        package=PACKAGE,
    )


def build_metadata(spec: ExportSpec) -> dict[str, Any]:
    """Return the metadata as plain lists, names and numbers, for JSON."""
    strides = spec.network.strides
    return {
        "architecture": spec.network.architecture,
        "skeleton": _skeleton_to_dict(spec.network.skeleton),
        "input_size": spec.input_size,
        "static_shape": spec.static_shape,
        "precision": spec.precision,
        "stride": strides[0],
        "heatmap_stride": strides[-1],
        "flip_test": spec.flip_test,
        "decoder": decoder_to_dict(spec.decoder),
        "normalization": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "inside_network": True},
        "license": spec.license,
        "checkpoint": fingerprint(spec.checkpoint) | {"file": spec.checkpoint.name},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _skeleton_to_dict(skeleton: Skeleton) -> dict[str, Any]:
    """Return a skeleton for JSON; parts and JSON keys have half-open ranges of keypoints."""
    parts = {part: [at.start, at.stop] for part, at in skeleton.parts.items()}
    return {
        "name": skeleton.name,
        "keypoints": skeleton.keypoints,
        "flip_indices": skeleton.flip_indices,
        "bones": skeleton.bones,
        "sigmas": skeleton.sigmas,
        "parts": parts,
        "json_keys": {key: [at.start, at.stop] for key, at in skeleton.json_keys.items()},
    }
