"""This file writes the card of a model: what it is, learned from, and may be used for."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.model.network import PoseNetwork
from tagpose.writing import whole

_COCO: Final = "COCO 2017 (annotations CC BY 4.0; photographs under the terms of Flickr)"
_WHOLEBODY: Final = "COCO-WholeBody v1.0 (for non-commercial research only) on images of COCO 2017"
# of the groups in conf/data: what it is, and what it asks of models that learned from it
_DATA: Final[Mapping[str, tuple[str, str]]] = {
    "coco": (_COCO, "as COCO's terms have it"),
    "coco_wholebody": (
        _WHOLEBODY,
        "non-commercial research only, as COCO-WholeBody's terms have it",
    ),
    "synthetic": ("drawn people, which say nothing of photographs", "Apache-2.0, as the code"),
    "synthetic_body": ("drawn people, which say nothing of photographs", "Apache-2.0, as the code"),
}
# what numbers depend on, beside the decoder
_TEST: Final = ("side", "scales", "every_tag", "by_size", "mirror", "precision")
# An absolute path in an override, also one in a list or a file: URI; a/b, ../a, ${a}/b and https://a
# have none.
_ABSOLUTE: Final = re.compile(r"(?:file://|(?<![\w.}:/-])|(?<=:)(?!//))/[^,\]})'\"]*")
_RUNS: Final = "runs"  # the folder that runs are in
_UNKNOWN: Final = ("not known here", "not known here; whoever trained it knows")


class Origin(NamedTuple):
    """Where weights come from."""

    data: str  # that they learned from
    licence: str  # that the data asks for
    command: str  # that trained them
    start: str | None  # weights that the training began with


def origin(data: str, overrides: Sequence[str], start: str | None) -> Origin:
    """Where the weights of a run come from.

    Args:
        data: the group of conf/data that it learned from.
        overrides: that it was started with.
        start: weights that it began with.
    """
    learned, licence = _DATA.get(data, _UNKNOWN)
    start = start and _anywhere(start)
    if start:
        licence += f"; and what {start} asks for, from which training started"
    command = ["python", "scripts/train.py", *map(_anywhere, overrides)]
    return Origin(learned, licence, shlex.join(command), start)


UNKNOWN: Final = Origin(*_UNKNOWN, command="not known here", start=None)


def model_card(
    name: str, network: PoseNetwork, origin: Origin, metrics: Mapping[str, Any] | None
) -> str:
    """A card in Markdown.

    Args:
        name: of the model.
        network: that is published.
        origin: of its weights.
        metrics: what `make evaluate` wrote of it in metrics.json; None where it was not scored.
    """
    facts, skeleton = network.facts, network.skeleton
    tag, heat = network.strides[0], network.strides[-1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    peaks = (
        "between the cells, where they are learned" if facts.sub_cell else "on cells, as published"
    )
    start = f"- **Started from**: {origin.start}\n" if origin.start else ""
    return f"""# {name}

Bottom-up pose of all in an image: one pass finds {skeleton.size} keypoints of each
({", ".join(skeleton.limbs)}), and Associative Embedding tags say whose they are. Made with tagpose.

- **Network**: {facts.architecture}, {parameters:,} parameters, skeleton `{skeleton.name}`
- **Output**: heatmaps with a cell for {heat} x {heat} input pixels, tags for {tag} x {tag}
- **Peaks**: {peaks}
- **Input**: RGB, shorter side {facts.side} pixels
- **Learned from**: {origin.data}
{start}- **Licence of the weights**: {origin.licence}
- **Trained by**: `{origin.command}`

## Numbers

{_numbers(metrics)}

## Use

    from tagpose import Predictor

    found = Predictor("{name}.safetensors")("photo.jpg")

## Limits

It finds what its data shows, and is unsure of all else. Keypoints that are small, blurred or hidden
are guesses, which their scores tell. Of people it says nothing of who somebody is, and must not
decide about them.
"""


def write_card(file: Path, card: str) -> None:
    """Write a card, whole or not at all."""
    with whole(file) as partial:
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


def _anywhere(text: str) -> str:
    """A text whose paths say nothing of this machine: those of runs from there on, or names."""
    return _ABSOLUTE.sub(lambda found: _short(Path(found[0].removeprefix("file://"))), text)


def _short(path: Path) -> str:
    """An absolute path from the last folder of runs on, or its name alone."""
    parts = path.parts
    if _RUNS not in parts:
        return path.name
    return "/".join(parts[len(parts) - 1 - parts[::-1].index(_RUNS) :])


def _numbers(metrics: Mapping[str, Any] | None) -> str:
    """A table of AP and AR, or that there is none."""
    if metrics is None:
        return "Not scored. `make evaluate` writes a metrics.json, which `make publish` takes."
    rows = [
        f"| {part} | {numbers['ap']:.3f} | {numbers['ar']:.3f} |"
        for part, numbers in metrics["parts"].items()
        if numbers["ap"] >= 0
    ]
    head = ["| part | AP | AR |", "|---|---|---|"]
    told = {k: v for k, v in metrics["test"].items() if k in _TEST}
    decoder = metrics["test"].get("decoder", {}).items()
    told |= {f"decoder.{k}": v for k, v in decoder if not k.startswith("_")}
    test = " ".join(f"{k}={v}" for k, v in told.items())
    return "\n".join([f"{metrics['title']}; {test}.", "", *head, *rows])
