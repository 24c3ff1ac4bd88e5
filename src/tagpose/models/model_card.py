"""Model cards: network, training data, license, metrics and limits of published weights."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tagpose.io import atomic_write
from tagpose.models.network import PoseNetwork

_COCO: Final = "COCO 2017 (annotations CC BY 4.0; images under the terms of Flickr)"
_WHOLEBODY: Final = "COCO-WholeBody v1.0 (for non-commercial research only) on images of COCO 2017"
# for each data config in conf/data: its description, and the license of models trained with it
_DATASETS: Final[Mapping[str, tuple[str, str]]] = {
    "coco": (_COCO, "according to the terms of COCO"),
    "coco_wholebody": (
        _WHOLEBODY,
        "non-commercial research only, according to the terms of COCO-WholeBody",
    ),
    "synthetic": (
        "synthetic people; not representative of photos",
        "Apache-2.0, like the code",
    ),
    "synthetic_body": (
        "synthetic people; not representative of photos",
        "Apache-2.0, like the code",
    ),
}
# test settings that affect metrics, besides those of the decoder
_TEST_SETTINGS: Final = (
    "input_size",
    "scales",
    "multi_scale_tags",
    "fuse_by_size",
    "flip_test",
    "precision",
)
# Absolute paths in overrides, including those in lists and file: URIs, but not those in a/b, ../a,
# ${a}/b and https://a.
_ABSOLUTE_PATH: Final = re.compile(r"(?:file://|(?<![\w.}:/-])|(?<=:)(?!//))/[^,\]})'\"]*")
_RUNS: Final = "runs"  # folder of all runs
_UNKNOWN_DATASET: Final = ("unknown", "unknown; ask the author of the weights")


class WeightsOrigin(NamedTuple):
    """Origin of weights."""

    data: str  # description of the training data
    license: str  # license of the weights, which follows from the data
    command: str  # training command
    init_checkpoint: str | None  # checkpoint from which training started


def describe_origin(
    data: str, overrides: Sequence[str], init_checkpoint: str | None
) -> WeightsOrigin:
    """Describe the origin of the weights of a training run.

    Args:
        data: name of the data config in conf/data.
        overrides: command-line overrides of the run.
        init_checkpoint: checkpoint from which the run started.
    """
    description, weights_license = _DATASETS.get(data, _UNKNOWN_DATASET)
    init_checkpoint = init_checkpoint and _strip_local_paths(init_checkpoint)
    if init_checkpoint:
        weights_license += f"; and the license of {init_checkpoint}, from which training started"
    command = ["tagpose", "train", *map(_strip_local_paths, overrides)]
    return WeightsOrigin(description, weights_license, shlex.join(command), init_checkpoint)


UNKNOWN_ORIGIN: Final = WeightsOrigin(*_UNKNOWN_DATASET, command="unknown", init_checkpoint=None)


def render_model_card(
    name: str, network: PoseNetwork, origin: WeightsOrigin, metrics: Mapping[str, Any] | None
) -> str:
    """Render a model card in Markdown.

    Args:
        name: name of the model.
        network: network of the model.
        origin: origin of its weights.
        metrics: content of the metrics.json that `tagpose evaluate` wrote; None if not evaluated.
    """
    spec, skeleton = network.spec, network.skeleton
    tag_stride, heatmap_stride = network.strides[0], network.strides[-1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    peaks = (
        "sub-pixel, at the exact positions of keypoints"
        if spec.subpixel
        else "at heatmap pixels, as in MMPose"
    )
    init_checkpoint = (
        f"- **Initialized from**: {origin.init_checkpoint}\n" if origin.init_checkpoint else ""
    )
    return f"""# {name}

Bottom-up pose estimation: a single forward pass detects {skeleton.size} keypoints
({", ".join(skeleton.disjoint_parts)}) of every person in an image, and Associative
Embedding tags group them into people. Made with tagpose.

- **Network**: {spec.architecture}, {parameters:,} parameters, skeleton `{skeleton.name}`
- **Output**: heatmaps of stride {heatmap_stride}, tags of stride {tag_stride}
- **Peaks**: {peaks}
- **Input**: RGB, shorter side {spec.input_size} pixels
- **Training data**: {origin.data}
{init_checkpoint}- **License of the weights**: {origin.license}
- **Training command**: `{origin.command}`

## Metrics

{_render_metrics(metrics)}

## Use

    from tagpose import Predictor

    poses = Predictor("{name}.safetensors")("photo.jpg")

## Limits

The model is only reliable on images similar to its training data. Keypoints that are small, blurred
or occluded are often wrong, and then have low scores. The model does not identify people, and must
not be used to make decisions about them.
"""


def write_model_card(file: Path, card: str) -> None:
    """Write a model card atomically."""
    with atomic_write(file) as partial:
        partial.write_text(card, encoding="utf-8")


def read_metrics(file: Path, sha256: str) -> dict[str, Any]:
    """Read the metrics.json that `tagpose evaluate` wrote for a checkpoint.

    Args:
        file: the metrics.json.
        sha256: hash of the checkpoint.

    Raises:
        ValueError: if the file is not a metrics.json, or belongs to another checkpoint.
    """
    try:
        metrics = json.loads(file.read_bytes())
        evaluated = metrics["checkpoint"]["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{file} is not a metrics.json; write one with `tagpose evaluate`"
        ) from error
    if evaluated != sha256:
        raise ValueError(
            f"{file} belongs to another checkpoint; evaluate this one with `tagpose evaluate`"
        )
    return metrics


def _strip_local_paths(text: str) -> str:
    """Shorten all absolute paths in a text, which would reveal local folders."""
    return _ABSOLUTE_PATH.sub(
        lambda match: _shorten_path(Path(match[0].removeprefix("file://"))), text
    )


def _shorten_path(path: Path) -> str:
    """Return the part of a path that starts with the last runs folder, or else its name."""
    parts = path.parts
    if _RUNS not in parts:
        return path.name
    return "/".join(parts[len(parts) - 1 - parts[::-1].index(_RUNS) :])


def _render_metrics(metrics: Mapping[str, Any] | None) -> str:
    """Render a table of AP and AR, or a note that there are no metrics."""
    if metrics is None:
        return (
            "Not evaluated. `tagpose evaluate` writes a metrics.json, which `tagpose publish` "
            "includes."
        )
    rows = [
        f"| {part} | {numbers['ap']:.3f} | {numbers['ar']:.3f} |"
        for part, numbers in metrics["parts"].items()
        if numbers["ap"] >= 0
    ]
    header = ["| part | AP | AR |", "|---|---|---|"]
    settings = {k: v for k, v in metrics["test"].items() if k in _TEST_SETTINGS}
    decoder = metrics["test"].get("decoder", {}).items()
    settings |= {f"decoder.{k}": v for k, v in decoder if not k.startswith("_")}
    options = " ".join(f"{k}={v}" for k, v in settings.items())
    return "\n".join([f"{metrics['title']}; {options}.", "", *header, *rows])


def read_origin(folder: Path) -> WeightsOrigin:
    """Return the origin of weights from the Hydra files of the run that trained them."""
    if not (folder / "hydra.yaml").is_file():
        return UNKNOWN_ORIGIN
    hydra, overrides, config = (
        yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("hydra", "overrides", "config")
    )
    data = hydra["hydra"]["runtime"]["choices"]["data"]
    return describe_origin(data, list(map(str, overrides)), config.get("init_from"))
