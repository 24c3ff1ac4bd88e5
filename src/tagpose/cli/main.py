"""Console command: `tagpose COMMAND [OVERRIDE ...]`."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from tagpose.cli.console import tolerate_output_errors
from tagpose.cli.errors import friendly_errors

PROGRAMS: Final = {
    "predict": "estimate poses in images and videos: images=PATH checkpoint=FILE",
    "app": "serve a web page that shows poses in uploaded images and videos: checkpoint=FILE",
    "train": "train a network: experiment=pretrain or experiment=finetune",
    "evaluate": "evaluate a checkpoint on a dataset: checkpoint=FILE",
    "score": "evaluate a COCO result file: results=FILE ground_truth=FILE",
    "report": "write an HTML report on a result file: results=FILE ground_truth=FILE",
    "reproduce": "train and evaluate both stages, and compare with the published results",
    "demo": "train and evaluate both stages on synthetic people in 15 minutes",
    "sweep": "search hyperparameters: sweep=NAME",
    "ablate": "evaluate variants of the recipe on synthetic people",
    "cache_outputs": "cache network outputs for `tune`: checkpoint=FILE",
    "tune": "evaluate decoder options on cached outputs: cached_outputs=FOLDER",
    "oracle": "evaluate decoded ground truth, the upper bound of the encoding",
    "models": "list the published models, whose names every checkpoint= accepts",
    "export": "export a checkpoint to ONNX with its decoder: checkpoint=FILE",
    "convert": "convert an MMPose checkpoint: checkpoint=FILE",
    "publish": "publish a checkpoint in MMPose's layout with a model card: checkpoint=FILE",
    "benchmark": "measure training, inference and data loading: device=cuda",
    "data download": "download COCO 2017: root=FOLDER",
    "data check": "report the statistics and issues of a dataset: data=NAME",
    "data synthesize": "render a dataset of synthetic people: root=FOLDER",
    "data split": "split the export of an annotation tool into train and val: source=PATH",
    "data skeleton": "generate the skeleton and data YAML files of a COCO file: annotations=FILE",
}


def main() -> None:
    """Run the program that the command line names."""
    arguments = sys.argv[1:]
    for length in (2, 1):
        if (verb := " ".join(arguments[:length])) in PROGRAMS:
            return run_program(verb, arguments[length:])
    if not arguments or arguments[0] in ("-h", "--help"):
        return print(usage())
    tolerate_output_errors()
    verb = " ".join(arguments[:2] if arguments[0] == "data" else arguments[:1])
    print(f"error: unknown command {verb!r}; `tagpose --help` lists them", file=sys.stderr)
    raise SystemExit(2)


def run_program(verb: str, arguments: Sequence[str]) -> None:
    """Run a program in this process.

    Args:
        verb: key of `PROGRAMS`.
        arguments: Hydra options and overrides.
    """
    tolerate_output_errors()
    with friendly_errors():  # covers imports, too: some programs need extras
        import_module(f"tagpose.cli.{verb.replace(' ', '_')}").main(arguments)


def run_script(file: str) -> None:
    """Run the program of a file in `scripts/` with the arguments of the command line."""
    run_program(Path(file).stem.replace("data_", "data "), sys.argv[1:])


def usage() -> str:
    """Return the help text of the command."""
    lines = [f"  {verb:16} {summary}" for verb, summary in PROGRAMS.items()]
    return "\n".join(
        [
            "usage: tagpose COMMAND [OVERRIDE ...]",
            "",
            *lines,
            "",
            "OVERRIDE is KEY=VALUE, as in Hydra; `tagpose COMMAND --help` lists all keys.",
        ]
    )


if __name__ == "__main__":
    main()
