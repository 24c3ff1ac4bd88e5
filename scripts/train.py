"""Train a stage: python scripts/train.py experiment=pretrain|finetune|... [key=value ...]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from lightning import seed_everything
from omegaconf import DictConfig, OmegaConf

from tagpose.complaints import told_in_a_sentence
from tagpose.model.weights import start_from
from tagpose.training.history import draw_history


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """Compose, build, fit; returns the metric that a sweep maximises."""
    with told_in_a_sentence():
        if OmegaConf.is_missing(cfg, "init_from"):
            raise ValueError(
                "init_from names no checkpoint to start from: init_from=runs/pretrain/.../best.ckpt"
                ", or start=scratch to start without one"
            )
        return train(cfg)


def train(cfg: DictConfig) -> float:
    """Train what the configuration describes; the best value of its monitor."""
    seed_everything(cfg.seed, workers=True)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    model = instantiate(cfg.model, _convert_="object")
    if cfg.init_from:
        print(f"{cfg.init_from}: {start_from(model.network, Path(cfg.init_from))}")
    callbacks = list(instantiate(cfg.callbacks, _convert_="object").values())
    loggers = list(instantiate(cfg.logger, _convert_="object").values())
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, _convert_="object")
    for logger in loggers:
        logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))
    trainer.fit(model, data, ckpt_path=cfg.resume)
    if trainer.is_global_zero:
        draw_history(Path(cfg.paths.run), f"{cfg.name} on {data.description}")
        print(f"checkpoints and curves: {cfg.paths.run}")
    return float(trainer.callback_metrics.get(cfg.monitor, float("nan")))


if __name__ == "__main__":
    main()
