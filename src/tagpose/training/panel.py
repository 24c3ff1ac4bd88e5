"""This file draws validation images while a network trains."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from tagpose.codec.decoder import build_decoder
from tagpose.data.images import write_image
from tagpose.drawing.fields import draw_heatmaps
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.drawing.sheets import contact_sheet, side_by_side
from tagpose.inference.decoding import decode_batch
from tagpose.skeleton import Skeleton
from tagpose.structures import Fields, Sample
from tagpose.training.decoding import as_learned

_IDENTITY: Final = torch.eye(2, 3, dtype=torch.float64)[None]  # input pixels are drawn


class Panel(Callback):
    """Draws validation images: truth, people, heatmaps, in the run's folder and in wandb.

    Args:
        skeleton: that is drawn.
        folder: for the pictures, one for each validation.
        images: drawn at most.
        decoder: options of the decoder.
    """

    def __init__(
        self, skeleton: Skeleton, folder: str | Path, images: int = 4, **decoder: Any
    ) -> None:
        self.skeleton, self.folder, self.images = skeleton, Path(folder), images
        self.decoder = build_decoder(skeleton, **decoder)
        self.rows: list[np.ndarray] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = []
        self.decoder = as_learned(self.decoder, pl_module)

    def on_validation_batch_end(  # type: ignore[override] # our module returns fields
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Fields,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        for i in range(min(self.images - len(self.rows), len(batch.image))):
            one = Fields(outputs.heatmaps[i : i + 1], outputs.tags[i : i + 1])
            self.rows.append(self._draw(one, batch.image[i], batch.keypoints[i]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.rows:
            return
        sheet = contact_sheet(self.rows)
        write_image(self.folder / f"step_{trainer.global_step:07d}.jpg", sheet)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/panel", [sheet], step=trainer.global_step)

    def _draw(self, fields: Fields, image: torch.Tensor, keypoints: torch.Tensor) -> np.ndarray:
        """One row: truth, people, heatmaps."""
        shown = image.permute(1, 2, 0).cpu().numpy()
        people = decode_batch(fields, _IDENTITY, self.decoder)[0]
        heatmaps = fields.heatmaps[0].float().cpu().numpy()
        pictures = (
            draw_truth(shown, keypoints.cpu().numpy(), self.skeleton),
            draw_people(shown, people, self.skeleton),
            draw_heatmaps(shown, heatmaps, self.skeleton),
        )
        return side_by_side(pictures, ("truth", "found", "heatmaps"))
