"""Train and evaluate both stages: tagpose reproduce model=NAME data.root=FOLDER."""

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from tagpose.cli.console import print_tables, render_tables
from tagpose.cli.program import program
from tagpose.cli.subprograms import (
    Step,
    check_steps,
    is_done,
    run_once,
    run_subprogram,
    synthesis_step,
)
from tagpose.data.split_paths import check_splits_exist, parse_splits
from tagpose.evaluation.coco_results import RESULTS_FILE
from tagpose.evaluation.keypoint_ap import read_scores
from tagpose.evaluation.published_results import (
    PublishedResult,
    compare_to_published,
    find_published_result,
)
from tagpose.evaluation.score_tables import comparison_table
from tagpose.io import atomic_write, write_json

_WIDTH: Final = 80  # characters of comparison.txt


@program("reproduce")
def main(cfg: DictConfig) -> None:
    """Run the steps that are not done, and compare the results with the published ones."""
    published = {
        name: find_published_result(cfg.reference_model, stage.skeleton, (1,))
        for name, stage in cfg.stages.items()
    }
    reproduce(cfg, published)


def reproduce(cfg: DictConfig, published: dict[str, PublishedResult]) -> None:
    """Train and evaluate one stage after the other, then describe the last one.

    Args:
        cfg: `conf/reproduce.yaml`, composed.
        published: published results by stage.
    """
    run, previous = Path(cfg.run), ""
    synthesis = [synthesis_step(cfg.data.root, cfg.synthesize)] if cfg.synthesize else []
    configs = check_steps([*synthesis, *plan_steps(cfg)])
    for step in synthesis:
        if not step.folder.exists():
            run_subprogram(step)
    check_data(configs)
    for stage in cfg.stages:
        was_done = is_done(run / f"evaluate_{stage}")
        run_once(training_step(cfg, stage, previous), shlex.split(cfg.launcher))
        run_once(evaluation_step(cfg, stage))
        if not was_done or stage == [*published][-1]:
            write_comparison(
                cfg, {n: row for n, row in published.items() if is_done(run / f"evaluate_{n}")}
            )
        previous = stage
    describe(cfg, previous)
    print("\nresults:")
    for name in ("comparison.txt", "report/report.html", "published"):
        print(f"  {run / name}")


def plan_steps(cfg: DictConfig) -> Iterator[Step]:
    """Yield the trainings and evaluations of all stages."""
    previous = ""
    for stage in cfg.stages:
        yield training_step(cfg, stage, previous)
        yield evaluation_step(cfg, stage)
        previous = stage


def check_data(configs: Mapping[Step, DictConfig]) -> None:
    """Check that the datasets of both stages exist before the first one trains for days.

    Args:
        configs: configurations of the steps.

    Raises:
        FileNotFoundError: a file or folder is missing that a training still needs.
    """
    for step, config in configs.items():
        if step.verb == "train" and not is_done(step.folder):
            data = config.data
            root = Path(data.root)
            check_splits_exist(root, parse_splits(root, data.train, data.val))


def training_step(cfg: DictConfig, stage: str, previous: str) -> Step:
    """Return the step that trains a stage from the best weights of the previous one."""
    folder = Path(cfg.run) / stage
    recipe = (f"model={cfg.name}", f"recipe={cfg.recipe}")
    init = (f"init_from={cfg.run}/{previous}/best.ckpt",) if previous else ()
    run = (f"hydra.run.dir={folder}", "resume=auto")
    overrides = (*cfg.stages[stage].train, *recipe, *machine_overrides(cfg), *init)
    return Step(folder, "train", (*overrides, *cfg.train_overrides, *run))


def machine_overrides(cfg: DictConfig) -> list[str]:
    """Return the overrides of a training that may differ between machines."""
    options = [f"data.root={cfg.data.root}"]
    options += [f"trainer.{key}={cfg.trainer[key]}" for key in ("accelerator", "devices")]
    options += [f"trainer.accumulate_grad_batches={cfg.trainer.accumulate_grad_batches}"]
    if (cfg.trainer.devices, cfg.trainer.num_nodes) == (1, 1):
        return options
    return ["trainer=ddp", f"trainer.num_nodes={cfg.trainer.num_nodes}", *options]


def evaluation_step(cfg: DictConfig, stage: str) -> Step:
    """Return the step that evaluates the best weights of a stage with flip test."""
    folder = Path(cfg.run) / f"evaluate_{stage}"
    data = (*cfg.stages[stage].evaluate, f"recipe={cfg.recipe}", f"data.root={cfg.data.root}")
    checkpoint = f"checkpoint={cfg.run}/{stage}/best.ckpt"
    return Step(folder, "evaluate", (*data, checkpoint, f"hydra.run.dir={folder}"))


def write_comparison(cfg: DictConfig, published: dict[str, PublishedResult]) -> None:
    """Print and write the results of the evaluated stages next to the published ones."""
    tables, numbers = [], {}
    for stage, row in published.items():
        # published results rank parts by the score of their person, as this table does
        scores = read_scores(Path(cfg.run) / f"evaluate_{stage}" / "metrics.json")
        differences = compare_to_published(row, scores)
        title = f"{stage} of {cfg.name} ({cfg.recipe}), published {row.architecture}"
        tables.append(comparison_table(differences, title))
        numbers[stage] = [difference._asdict() for difference in differences]
    print_tables(*tables)
    with atomic_write(Path(cfg.run) / "comparison.txt") as partial:
        partial.write_text(render_tables(*tables, width=_WIDTH))
    write_json(Path(cfg.run) / "comparison.json", numbers)


def describe(cfg: DictConfig, stage: str) -> None:
    """Write the report and the model card of an evaluated stage."""
    run = Path(cfg.run)
    evaluation, report, published = run / f"evaluate_{stage}", run / "report", run / "published"
    ground_truth = json.loads((evaluation / "metrics.json").read_bytes())["annotations"]["file"]
    results = (f"results={evaluation / RESULTS_FILE}", f"ground_truth={ground_truth}")
    images = f"images={cfg.data.root}/val2017"
    run_once(Step(report, "report", (*results, images, f"output={report}")))
    if not is_done(published):  # `publish` refuses to overwrite files of an interrupted run
        shutil.rmtree(published, ignore_errors=True)
    weights = (f"checkpoint={run}/{stage}/best.ckpt", f"metrics={evaluation}/metrics.json")
    run_once(Step(published, "publish", (*weights, f"output={published}")))
