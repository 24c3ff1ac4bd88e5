"""Validate an untrained network on so many processes: python validate.py ROOT DEVICES OUTPUT."""

import json
import sys
from pathlib import Path

import torch
from lightning import Trainer, seed_everything

from tagpose.data.datamodule import PoseData
from tagpose.losses import Criterion
from tagpose.model.network import PoseNetwork
from tagpose.training.callbacks import PartAP
from tagpose.training.module import PoseTraining
from tagpose.training.schedule import Cosine

if __name__ == "__main__":
    root, devices, output = sys.argv[1:]
    seed_everything(0)
    # wide initial weights: the people found are noise, but there are many, and scores to compare
    network = PoseNetwork("hrnet_w18_small", "wholebody", heatmap_std=0.1, tag_std=0.3)
    module = PoseTraining(network, Criterion(), torch.optim.Adam, Cosine())
    files = ("annotations/coco_wholebody_val_v1.0.json", "val2017")
    data = PoseData(root, "wholebody", files, files, 64, 2, 2, 0, {})
    trainer = Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        callbacks=[PartAP("wholebody", max_people=10)],
    )
    trainer.validate(module, data, verbose=False)
    if trainer.is_global_zero:
        shown = {name: value.item() for name, value in trainer.callback_metrics.items()}
        shown["images"] = len(trainer.callbacks[0].found.compute())
        Path(output).write_text(json.dumps(shown))
