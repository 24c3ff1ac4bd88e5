"""Validate with a number of processes: python validate.py ROOT DEVICES OUTPUT [EMPTY_RANK]."""

import json
import sys
from pathlib import Path

import torch
from lightning import Trainer, seed_everything

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.data.datamodule import PoseDataModule
from tagpose.losses import AssociativeEmbeddingLoss
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps
from tagpose.training.callbacks.part_ap import PartAPCallback
from tagpose.training.module import BottomUpPoseModule
from tagpose.training.optimization import WarmupCosine


class NoisyOracle(BottomUpPoseModule):
    """Predict maps from the ground truth, with errors that depend on the image only."""

    empty_rank = None

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        targets = HeatmapEncoder()(batch.keypoints, batch.mask)
        heatmaps, tags = targets.heatmaps.clone(), torch.zeros_like(targets.heatmaps)
        for i, image_id in enumerate(batch.image_id.tolist()):
            random = torch.Generator().manual_seed(image_id)
            heatmaps[i] *= torch.rand(len(heatmaps[i]), 1, 1, generator=random)
            people = zip(targets.tag_pixels[i], targets.visible[i], strict=True)
            for person, (tag_pixels, visible) in enumerate(people):
                tags[i].view(-1)[tag_pixels[visible]] = 5.0 * person
        if self.global_rank == self.empty_rank:
            heatmaps.zero_()  # nothing is detected
        return KeypointMaps(heatmaps, tags[:, None])


if __name__ == "__main__":
    root, devices, output, *empty_rank = sys.argv[1:]
    seed_everything(0)
    network = PoseNetwork("hrnet_w18_small", WHOLEBODY)
    module = NoisyOracle(network, AssociativeEmbeddingLoss(), torch.optim.Adam, WarmupCosine())
    module.empty_rank = int(empty_rank[0]) if empty_rank else None
    files = ("annotations/coco_wholebody_val_v1.0.json", "val2017")
    data = PoseDataModule(root, WHOLEBODY, files, files, 64, 2, 2, 0, {})
    trainer = Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        callbacks=[PartAPCallback(WHOLEBODY, max_people=10)],
    )
    trainer.validate(module, data, verbose=False)
    if trainer.is_global_zero:
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        metrics["images"] = len(trainer.callbacks[0].predictions.compute())
        Path(output).write_text(json.dumps(metrics))
