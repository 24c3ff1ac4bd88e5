"""Run the whole path on synthetic people: tagpose demo [key=value of conf/demo.yaml]."""

import shutil
import time
from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.cli.subprograms import run_subprogram


@program("demo")
def main(cfg: DictConfig) -> None:
    """Draw people, train both stages, score held-out images, show where everything is."""
    start, run = time.monotonic(), Path(cfg.run)
    data, input_size = f"data.root={cfg.data.root}", f"input_size={cfg.input_size}"
    one, two = run / "demo_pretrain", run / "demo_finetune"
    if not Path(cfg.data.root).exists():
        run_subprogram("data synthesize", f"root={cfg.data.root}")
    # an earlier demo's, so that none of it is taken for this
    shutil.rmtree(run, ignore_errors=True)
    run_subprogram(
        "train",
        "experiment=demo_pretrain",
        data,
        input_size,
        f"hydra.run.dir={one}",
        *cfg.train_overrides,
    )
    begin = f"init_from={one}/best.ckpt"
    run_subprogram(
        "train",
        "experiment=demo_finetune",
        begin,
        data,
        input_size,
        f"hydra.run.dir={two}",
        *cfg.train_overrides,
    )
    scored = (f"checkpoint={two}/best.ckpt", "data=synthetic", data, input_size)
    run_subprogram("evaluate", *scored, f"hydra.run.dir={run}/evaluate", f"pictures={cfg.pictures}")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes. Look at:")
    for what in (f"{one}/curves.png", f"{two}/curves.png", f"{run}/evaluate/people.png"):
        print(f"  {what}")
