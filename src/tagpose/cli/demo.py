"""Train and evaluate both stages on synthetic people, in minutes: tagpose demo [KEY=VALUE ...]."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.cli.subprograms import Step, check_steps, run_subprogram, synthesis_step


@program("demo")
def main(cfg: DictConfig) -> None:
    """Draw people, train both stages, evaluate on held-out images, and list the figures."""
    start, run = time.monotonic(), Path(cfg.run)
    pretrain, finetune = run / "demo_pretrain", run / "demo_finetune"
    synthesis, steps = synthesis_step(cfg.data.root), list(plan_steps(cfg, pretrain, finetune))
    check_steps([synthesis, *steps])
    if not synthesis.folder.exists():
        run_subprogram(synthesis)
    shutil.rmtree(run, ignore_errors=True)  # results of an earlier demo
    for step in steps:
        run_subprogram(step)
    print(f"Finished in {(time.monotonic() - start) / 60:.1f} minutes; results:")
    for file in (pretrain / "curves.png", finetune / "curves.png", run / "evaluate/people.png"):
        print(f"  {file}")


def plan_steps(cfg: DictConfig, pretrain: Path, finetune: Path) -> Iterator[Step]:
    """Yield the two trainings and the evaluation."""
    data = (f"data.root={cfg.data.root}", f"input_size={cfg.input_size}")
    init = f"init_from={pretrain}/best.ckpt"
    for folder, stage in (
        (pretrain, ("experiment=demo_pretrain",)),
        (finetune, ("experiment=demo_finetune", init)),
    ):
        yield Step(
            folder, "train", (*stage, *data, f"hydra.run.dir={folder}", *cfg.train_overrides)
        )
    folder = Path(cfg.run) / "evaluate"
    checkpoint = (f"checkpoint={finetune}/best.ckpt", "data=synthetic", *data)
    output = (f"hydra.run.dir={folder}", f"pictures={cfg.pictures}")
    yield Step(folder, "evaluate", (*checkpoint, *output))


def ensure_demo_checkpoint(runs: Path) -> Path:
    """Return the checkpoint of the demo, a small trained network; train it if it is missing.

    Args:
        runs: folder of all runs.
    """
    file = runs / "demo/demo_finetune/best.ckpt"
    if not file.exists():
        print(f"{file} is missing; the demo trains it, which takes 15 minutes on 2 CPU cores")
        folder = runs / "demo"
        run_subprogram(Step(folder, "demo", (f"run={folder}",)))
    return file
