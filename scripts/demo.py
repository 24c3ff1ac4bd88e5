"""Run the whole path on synthetic people: python scripts/demo.py [key=value of conf/demo.yaml]."""

import shutil
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.complaints import told
from tagpose.starting import call


@hydra.main(version_base="1.3", config_path="../conf", config_name="demo")
def main(cfg: DictConfig) -> None:
    """Draw people, train both stages, score held-out images, show where everything is."""
    start, run = time.monotonic(), Path(cfg.run)
    data, side = f"data.root={cfg.data.root}", f"side={cfg.side}"
    one, two = run / "demo_pretrain", run / "demo_finetune"
    if not Path(cfg.data.root).exists():
        call("synthesise", f"root={cfg.data.root}")
    # an earlier demo's, so that none of it is taken for this
    shutil.rmtree(run, ignore_errors=True)
    call("train", "experiment=demo_pretrain", data, side, f"hydra.run.dir={one}", *cfg.both)
    begin = f"init_from={one}/best.ckpt"
    call("train", "experiment=demo_finetune", begin, data, side, f"hydra.run.dir={two}", *cfg.both)
    scored = (f"checkpoint={two}/best.ckpt", "data=synthetic", data, side)
    call("evaluate", *scored, f"hydra.run.dir={run}/evaluate", f"pictures={cfg.pictures}")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes. Look at:")
    for what in (f"{one}/curves.png", f"{two}/curves.png", f"{run}/evaluate/people.png"):
        print(f"  {what}")


if __name__ == "__main__":
    told(main)
