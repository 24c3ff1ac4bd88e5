"""Callback that draws validation images during training."""

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
from tagpose.visualization.poses import draw_ground_truth_poses, draw_poses

_IDENTITY: Final = torch.eye(2, 3, dtype=torch.float64)[None]  # poses stay in input pixels


class ImageLogger(Callback):
    """Draw ground truth, predictions and heatmaps of validation images.

    Each validation writes one picture to a folder and logs it to wandb as `val/images`.

    Args:
        skeleton: skeleton to draw.
        folder: folder for the pictures.
        max_images: maximum number of images in a picture.
        decoder: options of the decoder, such as `min_score`.
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

    def on_validation_batch_end(  # type: ignore[override] # our module returns keypoint maps
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
            keypoint_maps = KeypointMaps(outputs.heatmaps[i : i + 1], outputs.tags[i : i + 1])
            self.rows.append(self._draw_row(keypoint_maps, batch.image[i], batch.keypoints[i]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.rows:
            return
        grid = make_image_grid(self.rows)
        write_image(self.folder / f"step_{trainer.global_step:07d}.jpg", grid)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                # Lightning logs the scores of this validation at the index of the last step
                logger.log_image("val/images", [grid], step=trainer.global_step - 1)

    def _draw_row(
        self, keypoint_maps: KeypointMaps, image: torch.Tensor, keypoints: torch.Tensor
    ) -> np.ndarray:
        """Draw the ground truth, predictions and heatmaps of one image side by side."""
        pixels = image.permute(1, 2, 0).cpu().numpy()
        poses = decode_batch(keypoint_maps, _IDENTITY, self.decoder)[0]
        heatmaps = keypoint_maps.heatmaps[0].float().cpu().numpy()
        pictures = (
            draw_ground_truth_poses(pixels, keypoints.cpu().numpy(), self.skeleton),
            draw_poses(pixels, poses, self.skeleton),
            draw_heatmaps(pixels, heatmaps, self.skeleton),
        )
        return make_image_row(pictures, ("ground truth", "predictions", "heatmaps"))
