"""Train a stage: python scripts/train.py experiment=pretrain|finetune|... [key=value ...]."""

import warnings
from pathlib import Path

import hydra
import wandb
from hydra.utils import instantiate
from lightning import seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told_in_a_sentence
from tagpose.model.weights import check_same, start_from
from tagpose.training.history import draw_history

_HARMLESS = (
    "Experiment logs directory .* exists",  # Hydra made the run's folder
    "Checkpoint directory .* exists",
    ".isinstance.treespec, LeafSpec.. is deprecated",  # lightning 2.6.6 with torch 2.15
    "The '.*dataloader' does not have many workers",
)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """Compose, build, fit; returns the metric that a sweep maximises."""
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    keep_freed_memory()
    with told_in_a_sentence(MisconfigurationException):
        if cfg.resume:  # brings all its weights
            cfg.init_from, cfg.model.network.pretrained = None, False
        elif OmegaConf.is_missing(cfg, "init_from"):
            raise ValueError(
                "init_from names no checkpoint to start from: init_from=runs/pretrain/.../best.ckpt"
                ", or start=scratch to start without one"
            )
        failed = True
        try:
            score = train(cfg)
            failed = False
            return score
        finally:
            # what follows in this process is another run, and one that fails is not to look whole
            wandb.finish(exit_code=int(failed))


def train(cfg: DictConfig) -> float:
    """Train what the configuration describes; the best value of its monitor, NaN without any."""
    seed_everything(cfg.seed, workers=True)
    with warnings.catch_warnings():
        # a misspelt argument of a transform is only a warning to albumentations
        warnings.filterwarnings("error", message=".*not valid for transform")
        data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    model = instantiate(cfg.model, _convert_="object")
    if cfg.init_from:
        print(f"{cfg.init_from}: {start_from(model.network, Path(cfg.init_from))}")
    if cfg.resume:
        check_same(model.network, Path(cfg.resume))
    callbacks = instantiate(cfg.callbacks, _convert_="object")
    loggers = list(instantiate(cfg.logger, _convert_="object").values())
    trainer = instantiate(
        cfg.trainer, callbacks=list(callbacks.values()), logger=loggers, _convert_="object"
    )
    for logger in loggers:
        logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))
    trainer.fit(model, data, ckpt_path=cfg.resume)
    if trainer.is_global_zero:
        draw_history(Path(cfg.paths.run), f"{cfg.name} on {data.description}")
        print(f"run: {cfg.paths.run}")
    best = callbacks["best"].best_model_score
    return float("nan") if best is None else float(best)


if __name__ == "__main__":
    main()
