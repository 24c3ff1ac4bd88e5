"""This file draws validation images while a network trains."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from tagpose.codec.decoder import build_decoder
from tagpose.data.image_files import write_image
from tagpose.inference.batch_decoding import decode_batch
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Sample
from tagpose.training.callbacks.part_ap import adapt_decoder
from tagpose.visualization.heatmaps import draw_heatmaps
from tagpose.visualization.image_grid import make_image_grid, make_image_row
from tagpose.visualization.poses import draw_ground_truth, draw_poses

_IDENTITY: Final = torch.eye(2, 3, dtype=torch.float64)[None]  # input pixels are drawn


class ImageLogger(Callback):
    """Draws validation images: ground truth, people, heatmaps, in the run's folder and in wandb.

    Args:
        skeleton: that is drawn.
        folder: for the pictures, one for each validation.
        max_images: drawn at most.
        decoder: options of the decoder.
    """

    def __init__(
        self, skeleton: Skeleton, folder: str | Path, max_images: int = 4, **decoder: Any
    ) -> None:
        self.skeleton, self.folder, self.max_images = skeleton, Path(folder), max_images
        self.decoder = build_decoder(skeleton, **decoder)
        self.rows: list[np.ndarray] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = []
        self.decoder = adapt_decoder(self.decoder, pl_module)

    def on_validation_batch_end(  # type: ignore[override] # our module returns keypoint_maps
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: KeypointMaps,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        for i in range(min(self.max_images - len(self.rows), len(batch.image))):
            one = KeypointMaps(outputs.heatmaps[i : i + 1], outputs.tags[i : i + 1])
            self.rows.append(self._draw_row(one, batch.image[i], batch.keypoints[i]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.rows:
            return
        sheet = make_image_grid(self.rows)
        write_image(self.folder / f"step_{trainer.global_step:07d}.jpg", sheet)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/images", [sheet], step=trainer.global_step)

    def _draw_row(
        self, keypoint_maps: KeypointMaps, image: torch.Tensor, keypoints: torch.Tensor
    ) -> np.ndarray:
        """One row: ground truth, people, heatmaps."""
        pixels = image.permute(1, 2, 0).cpu().numpy()
        people = decode_batch(keypoint_maps, _IDENTITY, self.decoder)[0]
        heatmaps = keypoint_maps.heatmaps[0].float().cpu().numpy()
        pictures = (
            draw_ground_truth(pixels, keypoints.cpu().numpy(), self.skeleton),
            draw_poses(pixels, people, self.skeleton),
            draw_heatmaps(pixels, heatmaps, self.skeleton),
        )
        return make_image_row(pictures, ("ground truth", "found", "heatmaps"))
