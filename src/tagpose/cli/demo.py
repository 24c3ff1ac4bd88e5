"""Train and evaluate both stages on synthetic people, in minutes: tagpose demo [KEY=VALUE ...]."""

import shutil
import time
from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.cli.subprograms import run_subprogram


@program("demo")
def main(cfg: DictConfig) -> None:
    """Draw people, train both stages, evaluate on held-out images, and list the figures."""
    start, run = time.monotonic(), Path(cfg.run)
    data = (f"data.root={cfg.data.root}", f"input_size={cfg.input_size}")
    pretrain, finetune = run / "demo_pretrain", run / "demo_finetune"
    if not Path(cfg.data.root).exists():
        run_subprogram("data synthesize", f"root={cfg.data.root}")
    shutil.rmtree(run, ignore_errors=True)  # results of an earlier demo
    run_subprogram(
        "train",
        "experiment=demo_pretrain",
        *data,
        f"hydra.run.dir={pretrain}",
        *cfg.train_overrides,
    )
    run_subprogram(
        "train",
        "experiment=demo_finetune",
        f"init_from={pretrain}/best.ckpt",
        *data,
        f"hydra.run.dir={finetune}",
        *cfg.train_overrides,
    )
    run_subprogram(
        "evaluate",
        f"checkpoint={finetune}/best.ckpt",
        "data=synthetic",
        *data,
        f"hydra.run.dir={run}/evaluate",
        f"pictures={cfg.pictures}",
    )
    print(f"Finished in {(time.monotonic() - start) / 60:.1f} minutes; results:")
    for file in (pretrain / "curves.png", finetune / "curves.png", run / "evaluate/people.png"):
        print(f"  {file}")


def ensure_demo_checkpoint(runs: Path) -> Path:
    """Return the checkpoint of the demo, a small trained network; train it if it is missing.

    Args:
        runs: folder of all runs.
    """
    file = runs / "demo/demo_finetune/best.ckpt"
    if not file.exists():
        print(f"{file} is missing; the demo trains it, which takes 15 minutes on 2 CPU cores")
        run_subprogram("demo", f"run={runs / 'demo'}")
    return file
