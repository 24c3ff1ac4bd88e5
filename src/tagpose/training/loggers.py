"""This file makes the wandb logger: it never asks, and never fails where there is no network."""

import warnings
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

_PATIENCE = 20  # seconds for its server to answer; the library's own 90 look like a hang


def wandb_logger(
    save_dir: str | Path, project: str, *, online: bool, **options: Any
) -> WandbLogger:
    """A wandb logger, offline unless asked; `wandb sync` uploads later what it kept.

    Args:
        save_dir: folder of the run.
        project: of wandb.
        online: whether to send. Where that fails, a warning says so and the run is kept offline.
        options: of Lightning's WandbLogger.
    """
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, init_timeout=_PATIENCE)
    if online and wandb.api.api_key is None:  # asked first, because wandb would prompt
        warnings.warn("wandb is kept offline: no API key; `wandb login` stores one", stacklevel=2)
    elif online:
        try:
            logger = WandbLogger(save_dir=save_dir, project=project, settings=settings, **options)
            logger.experiment  # noqa: B018 -- connects
            return logger
        except (wandb.errors.Error, TimeoutError) as error:
            warnings.warn(f"wandb is kept offline: {error}", stacklevel=2)
    return WandbLogger(
        save_dir=save_dir, project=project, settings=settings, offline=True, **options
    )
