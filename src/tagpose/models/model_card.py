"""This file writes the card of a model: what it is, learned from, and may be used for."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.io import atomic_write
from tagpose.models.network import PoseNetwork

_COCO: Final = "COCO 2017 (annotations CC BY 4.0; photographs under the terms of Flickr)"
_WHOLEBODY: Final = "COCO-WholeBody v1.0 (for non-commercial research only) on images of COCO 2017"
# of the groups in conf/data: what it is, and what it asks of models that learned from it
_DATASETS: Final[Mapping[str, tuple[str, str]]] = {
    "coco": (_COCO, "as COCO's terms have it"),
    "coco_wholebody": (
        _WHOLEBODY,
        "non-commercial research only, as COCO-WholeBody's terms have it",
    ),
    "synthetic": ("drawn people, which say nothing of photographs", "Apache-2.0, as the code"),
    "synthetic_body": ("drawn people, which say nothing of photographs", "Apache-2.0, as the code"),
}
# what numbers depend on, beside the decoder
_TEST_SETTINGS: Final = (
    "input_size",
    "scales",
    "multi_scale_tags",
    "fuse_by_size",
    "flip_test",
    "precision",
)
# An absolute path in an override, also one in a list or a file: URI; a/b, ../a, ${a}/b and https://a
# have none.
_ABSOLUTE_PATH: Final = re.compile(r"(?:file://|(?<![\w.}:/-])|(?<=:)(?!//))/[^,\]})'\"]*")
_RUNS: Final = "runs"  # the folder that runs are in
_UNKNOWN_DATASET: Final = ("not known here", "not known here; whoever trained it knows")


class WeightsOrigin(NamedTuple):
    """Where weights come from."""

    data: str  # that they learned from
    licence: str  # that the data asks for
    command: str  # that trained them
    init_checkpoint: str | None  # weights that the training began with


def describe_origin(
    data: str, overrides: Sequence[str], init_checkpoint: str | None
) -> WeightsOrigin:
    """Where the weights of a run come from.

    Args:
        data: the group of conf/data that it learned from.
        overrides: that it was started with.
        init_checkpoint: weights that it began with.
    """
    learned, licence = _DATASETS.get(data, _UNKNOWN_DATASET)
    init_checkpoint = init_checkpoint and _strip_local_paths(init_checkpoint)
    if init_checkpoint:
        licence += f"; and what {init_checkpoint} asks for, from which training started"
    command = ["tagpose", "train", *map(_strip_local_paths, overrides)]
    return WeightsOrigin(learned, licence, shlex.join(command), init_checkpoint)


UNKNOWN_ORIGIN: Final = WeightsOrigin(
    *_UNKNOWN_DATASET, command="not known here", init_checkpoint=None
)


def render_model_card(
    name: str, network: PoseNetwork, origin: WeightsOrigin, metrics: Mapping[str, Any] | None
) -> str:
    """A card in Markdown.

    Args:
        name: of the model.
        network: that is published.
        origin: of its weights.
        metrics: what `make evaluate` wrote of it in metrics.json; None where it was not scored.
    """
    spec, skeleton = network.spec, network.skeleton
    tag, heat = network.strides[0], network.strides[-1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    peaks = (
        "at sub-pixel positions, where they are learned"
        if spec.subpixel
        else "on heatmap pixels, as published"
    )
    init_checkpoint = (
        f"- **Started from**: {origin.init_checkpoint}\n" if origin.init_checkpoint else ""
    )
    return f"""# {name}

Bottom-up pose of all in an image: one pass finds {skeleton.size} keypoints of each
({", ".join(skeleton.disjoint_parts)}), and Associative Embedding tags say whose they are. Made with tagpose.

- **Network**: {spec.architecture}, {parameters:,} parameters, skeleton `{skeleton.name}`
- **Output**: heatmaps with a value for {heat} x {heat} input pixels, tags for {tag} x {tag}
- **Peaks**: {peaks}
- **Input**: RGB, shorter side {spec.input_size} pixels
- **Learned from**: {origin.data}
{init_checkpoint}- **Licence of the weights**: {origin.licence}
- **Trained by**: `{origin.command}`

## Numbers

{_render_metrics(metrics)}

## Use

    from tagpose import Predictor

    found = Predictor("{name}.safetensors")("photo.jpg")

## Limits

It finds what its data shows, and is unsure of all else. Keypoints that are small, blurred or hidden
are guesses, which their scores tell. Of people it says nothing of who somebody is, and must not
decide about them.
"""


def write_model_card(file: Path, card: str) -> None:
    """Write a card, whole or not at all."""
    with atomic_write(file) as partial:
        partial.write_text(card, encoding="utf-8")


def read_metrics(file: Path, sha256: str) -> dict[str, Any]:
    """What `make evaluate` wrote of a checkpoint.

    Raises:
        ValueError: the file is none of its, or is of another checkpoint.
    """
    try:
        metrics = json.loads(file.read_bytes())
        scored = metrics["checkpoint"]["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no metrics.json that `make evaluate` wrote") from error
    if scored != sha256:
        raise ValueError(f"{file} is of another checkpoint; score this one by `make evaluate`")
    return metrics


def _strip_local_paths(text: str) -> str:
    """A text whose paths say nothing of this machine: those of runs from there on, or names."""
    return _ABSOLUTE_PATH.sub(
        lambda found: _shorten_path(Path(found[0].removeprefix("file://"))), text
    )


def _shorten_path(path: Path) -> str:
    """An absolute path from the last folder of runs on, or its name alone."""
    parts = path.parts
    if _RUNS not in parts:
        return path.name
    return "/".join(parts[len(parts) - 1 - parts[::-1].index(_RUNS) :])


def _render_metrics(metrics: Mapping[str, Any] | None) -> str:
    """A table of AP and AR, or that there is none."""
    if metrics is None:
        return "Not scored. `make evaluate` writes a metrics.json, which `make publish` takes."
    rows = [
        f"| {part} | {numbers['ap']:.3f} | {numbers['ar']:.3f} |"
        for part, numbers in metrics["parts"].items()
        if numbers["ap"] >= 0
    ]
    head = ["| part | AP | AR |", "|---|---|---|"]
    settings = {k: v for k, v in metrics["test"].items() if k in _TEST_SETTINGS}
    decoder = metrics["test"].get("decoder", {}).items()
    settings |= {f"decoder.{k}": v for k, v in decoder if not k.startswith("_")}
    test = " ".join(f"{k}={v}" for k, v in settings.items())
    return "\n".join([f"{metrics['title']}; {test}.", "", *head, *rows])
