"""Train and evaluate both stages: tagpose reproduce model=NAME data.root=FOLDER."""

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from tagpose.cli.console import print_tables, render_tables
from tagpose.cli.program import program
from tagpose.cli.subprograms import run_subprogram
from tagpose.evaluation.coco_results import write_json
from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import (
    PublishedResult,
    compare_to_published,
    find_published_result,
)
from tagpose.evaluation.score_tables import comparison_table
from tagpose.io import atomic_write

# overrides that differ between machines, and places of files
_MACHINE: Final = (
    "checkpoint", "data.root", "hydra.run.dir", "images", "init_from", "metrics", "output",
    "results", "trainer", "trainer.accelerator", "trainer.accumulate_grad_batches",
    "trainer.devices", "trainer.num_nodes", "ground_truth",
)  # fmt: skip

_SIGNALLED: Final = 128  # an exit code above is that of a signal


class Steps:
    """Programs that each run once, recorded in a file.

    Args:
        file: record of the steps that are done.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.done: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}

    def run(self, name: str, script: str, *overrides: str, launcher: Sequence[str] = ()) -> None:
        """Run a script, unless the step is done.

        Raises:
            ValueError: the step is done with other overrides.
        """
        if name in self.done:
            self._check(name, overrides)
            print(f"{name}: done")
            return
        try:
            cost = run_subprogram(script, *overrides, launcher=launcher)
        except SystemExit as ended:
            if int(ended.code or 0) > _SIGNALLED:
                print(f"{name} was interrupted; the same command resumes", file=sys.stderr)
            raise
        self.done[name] = {"script": script, "overrides": overrides, **cost._asdict()}
        write_json(self.file, self.done)

    def _check(self, name: str, overrides: Sequence[str]) -> None:
        """Compare the overrides of a step that is done with those it would have now."""
        before, now = (_of_results(words) for words in (self.done[name]["overrides"], overrides))
        if before != now:
            changed = ", ".join(sorted(before ^ now))
            raise ValueError(
                f"{name} in {self.file.parent} is done with other options ({changed}); expected "
                "the same ones, so repeat the earlier command, or name another folder by run=FOLDER"
            )


def _of_results(overrides: Sequence[str]) -> set[str]:
    """Return the overrides that results depend on."""
    return {word for word in overrides if word.partition("=")[0] not in _MACHINE}


_WIDTH: Final = 80  # characters of comparison.txt


@program("reproduce")
def main(cfg: DictConfig) -> None:
    """Run the steps that are not done, and print the results and the published ones."""
    published = {
        name: find_published_result(cfg.reference_model, stage.skeleton, (1,))
        for name, stage in cfg.stages.items()
    }
    reproduce(cfg, published)


def reproduce(cfg: DictConfig, published: dict[str, PublishedResult]) -> None:
    """Train and evaluate stage after stage, then describe the last one.

    Args:
        cfg: `conf/reproduce.yaml`, composed.
        published: published results by stage.
    """
    run, root = Path(cfg.run), Path(cfg.data.root)
    if cfg.synthesize and not root.exists():
        run_subprogram("data synthesize", f"root={root}", *cfg.synthesize)
    steps, before = Steps(run / "steps.json"), ""
    for stage in cfg.stages:
        repeated = f"evaluate_{stage}" in steps.done
        train(cfg, steps, stage, before)
        evaluate(cfg, steps, stage)
        ended = {name: row for name, row in published.items() if f"evaluate_{name}" in steps.done}
        if not repeated or stage == [*published][-1]:
            write_comparison(cfg, ended)
        before = stage
    describe(cfg, steps, before)
    print("\nresults:")
    for name in ("comparison.txt", "report/report.html", "published"):
        print(f"  {run / name}")


def train(cfg: DictConfig, steps: Steps, stage: str, before: str) -> None:
    """Train a stage, or resume it; it starts from the best weights of the stage before."""
    start = [f"init_from={cfg.run}/{before}/best.ckpt"] if before else []
    steps.run(
        stage,
        "train",
        *cfg.stages[stage].train,
        f"model={cfg.name}",
        f"recipe={cfg.recipe}",
        *machine_overrides(cfg),
        *start,
        *cfg.train_overrides,
        f"hydra.run.dir={cfg.run}/{stage}",
        "resume=auto",
        launcher=shlex.split(cfg.launcher),
    )


def machine_overrides(cfg: DictConfig) -> list[str]:
    """Return the overrides of a training that may differ between machines."""
    options = [f"data.root={cfg.data.root}"]
    options += [f"trainer.{key}={cfg.trainer[key]}" for key in ("accelerator", "devices")]
    options += [f"trainer.accumulate_grad_batches={cfg.trainer.accumulate_grad_batches}"]
    if (cfg.trainer.devices, cfg.trainer.num_nodes) == (1, 1):
        return options
    return ["trainer=ddp", f"trainer.num_nodes={cfg.trainer.num_nodes}", *options]


def evaluate(cfg: DictConfig, steps: Steps, stage: str) -> None:
    """Evaluate the best weights of a stage with flip test."""
    steps.run(
        f"evaluate_{stage}",
        "evaluate",
        *cfg.stages[stage].evaluate,
        f"recipe={cfg.recipe}",
        f"data.root={cfg.data.root}",
        f"checkpoint={cfg.run}/{stage}/best.ckpt",
        f"hydra.run.dir={cfg.run}/evaluate_{stage}",
    )


def write_comparison(cfg: DictConfig, published: dict[str, PublishedResult]) -> None:
    """Print and write the results of the stages that are evaluated, and the published ones."""
    tables, numbers = [], {}
    for stage, row in published.items():
        metrics = json.loads((Path(cfg.run) / f"evaluate_{stage}" / "metrics.json").read_bytes())
        # published results rank parts by the score of their person, as this table does
        scores = {part: PartScores(**one) for part, one in metrics["parts"].items()}
        compared = compare_to_published(row, scores)
        title = f"{stage} of {cfg.name} ({cfg.recipe}), published {row.architecture}"
        tables.append(comparison_table(compared, title))
        numbers[stage] = [one._asdict() for one in compared]
    print_tables(*tables)
    with atomic_write(Path(cfg.run) / "comparison.txt") as partial:
        partial.write_text(render_tables(*tables, width=_WIDTH))
    write_json(Path(cfg.run) / "comparison.json", numbers)


def describe(cfg: DictConfig, steps: Steps, stage: str) -> None:
    """Write the report and the model card of an evaluated stage."""
    run = Path(cfg.run)
    evaluated = run / f"evaluate_{stage}"
    ground_truth = json.loads((evaluated / "metrics.json").read_bytes())["annotations"]["file"]
    results = f"results={evaluated}/results.json"
    images = f"images={cfg.data.root}/val2017"
    steps.run(
        "report", "report", results, f"ground_truth={ground_truth}", images, f"output={run}/report"
    )
    if "published" not in steps.done:  # publish.py refuses to overwrite what an earlier one left
        shutil.rmtree(run / "published", ignore_errors=True)
    weights = (f"checkpoint={run}/{stage}/best.ckpt", f"metrics={evaluated}/metrics.json")
    steps.run("published", "publish", *weights, f"output={run}/published")
