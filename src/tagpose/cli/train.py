"""Train a stage: tagpose train experiment=pretrain|finetune|... [KEY=VALUE ...]."""

import warnings
from pathlib import Path
from typing import Any, Final

import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.data.datamodule import PoseDataModule
from tagpose.models.transfer import transfer_weights
from tagpose.training.callbacks.part_ap import PartAPCallback, score_names
from tagpose.training.callbacks.run_lock import RunLock, lock_run
from tagpose.training.callbacks.run_manifest import RunManifest, collect_facts
from tagpose.training.history import draw_history
from tagpose.training.loggers import truncate_logs
from tagpose.training.resume_checkpoint import (
    check_resumable,
    find_resume_checkpoint,
    read_global_step,
    remove_temporary_checkpoints,
)
from tagpose.training.validation_loss import LOSS_NAMES

_HARMLESS: Final = (
    "Experiment logs directory .* exists",  # Hydra created the folder of the run
    "Checkpoint directory .* exists",
    ".isinstance.treespec, LeafSpec.. is deprecated",  # lightning 2.6.6 with torch 2.15
    "The '.*dataloader' does not have many workers",
    "The number of training batches .* is smaller than the logging interval",  # small datasets
    "It is recommended to use .self.log.*sync_dist=True",  # the module reduces values itself
    "Precision bf16-mixed is not supported by the model summary",
    "You're resuming from a checkpoint that ended before the epoch",  # PoseDataModule supports it
)


@program("train", MisconfigurationException)
def main(cfg: DictConfig) -> None:
    """Train the configured model in a folder that no other run uses."""
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    check_monitors(cfg)
    folder, nodes = Path(cfg.paths.run), OmegaConf.select(cfg, "trainer.num_nodes", default=1)
    with lock_run(folder, nodes=nodes) as run_lock:
        if run_lock.is_owner:
            remove_temporary_checkpoints(folder)
        checkpoint = find_resume_checkpoint(cfg.resume, folder, is_named=is_run_named())
        if OmegaConf.is_missing(cfg, "init_from"):
            if not checkpoint:
                raise ValueError(
                    "init_from is missing; name the checkpoint to start from, as "
                    "init_from=runs/pretrain/.../best.ckpt, or set init=scratch"
                )
            cfg.init_from = None
        configured: Any = OmegaConf.to_container(cfg, resolve=True)
        if checkpoint:  # which contains all weights
            cfg.init_from, cfg.model.network.pretrained = None, False
        failed = True
        try:
            train(cfg, checkpoint, configured, run_lock)
            failed = False
        finally:
            # another run may follow in this process, and a failed run must not appear finished
            wandb.finish(exit_code=int(failed))


def check_monitors(cfg: DictConfig) -> None:
    """Raise a ValueError if a callback monitors a metric that is not logged in validations."""
    callbacks = list(configured_callbacks(cfg).values())
    targets = [node["_target_"] for node in callbacks]
    if not all(target.startswith(("tagpose.", "lightning.")) for target in targets):
        return  # callbacks of the user may log further metrics
    has_scores = any(target.endswith(f".{PartAPCallback.__name__}") for target in targets)
    scores = score_names(instantiate(cfg.skeleton)) if has_scores else []
    for node in callbacks:
        monitor = node.get("monitor") or LOSS_NAMES[0]
        if not monitor.startswith("train/") and monitor not in (*scores, *LOSS_NAMES):
            raise ValueError(
                f"monitor={monitor} is not logged by any callback; use one of "
                f"{', '.join([*scores, *LOSS_NAMES])}"
            )


def configured_callbacks(cfg: DictConfig) -> dict[str, DictConfig]:
    """Return the callbacks by name, without options that an experiment sets for an absent one."""
    return {str(name): node for name, node in cfg.callbacks.items() if "_target_" in node}


def is_run_named() -> bool:
    """Return whether the same command would use the same run folder again."""
    overrides = HydraConfig.get().overrides
    words = [*overrides.task, *overrides.hydra]
    return any(word.startswith(("run=", "hydra.run.dir=")) for word in words)


def train(cfg: DictConfig, checkpoint: Path | None, configured: Any, run_lock: RunLock) -> float:
    """Train the configured model.

    Args:
        cfg: `conf/train.yaml`, composed.
        checkpoint: checkpoint to resume from.
        configured: resolved configuration, to log and to save.
        run_lock: lock of the run folder.

    Returns:
        The best value of the monitored metric, or NaN.
    """
    seed_everything(cfg.seed, workers=True)
    data = make_data(cfg)
    model = instantiate(cfg.model, _convert_="object")
    resolve_checkpoints(cfg)
    if cfg.init_from:
        report = transfer_weights(model.network, Path(cfg.init_from))
        rank_zero_only(print)(f"{cfg.init_from}: {report}")
    callbacks = {
        name: instantiate(node, _convert_="object")
        for name, node in configured_callbacks(cfg).items()
    }
    manifest = RunManifest(
        Path(cfg.paths.run), lambda: collect_facts(configured, data), config_files(configured)
    )
    # a process that could not lock the folder must not touch the logs in it
    logger = {} if run_lock.lock_error else instantiate(cfg.logger, _convert_="object")
    loggers = list(logger.values())
    if checkpoint:
        check_resumable(model.network, checkpoint)
        truncate_logs(loggers, read_global_step(checkpoint))
    trainer: Trainer = instantiate(
        cfg.trainer,
        callbacks=[run_lock, *callbacks.values(), manifest],
        logger=loggers,
        _convert_="object",
    )
    for logger in loggers:
        logger.log_hyperparams(configured)  # a resumed run keeps its init_from
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        draw_history(Path(cfg.paths.run), f"{cfg.name} on {data.description}")
        print(f"run: {cfg.paths.run}")
    return best_score(trainer, callbacks)


def make_data(cfg: DictConfig) -> PoseDataModule:
    """Return the data module, set up for training."""
    with warnings.catch_warnings():
        # albumentations only warns about unknown arguments
        warnings.filterwarnings("error", message=".*not valid for transform")
        data: PoseDataModule = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    return data


def best_score(trainer: Trainer, callbacks: dict[str, Any]) -> float:
    """Return the best value of the monitored metric, or NaN without one."""
    if "best_checkpoint" not in callbacks:  # ~callbacks.best_checkpoint
        return float("nan")
    score = callbacks["best_checkpoint"].best_model_score
    if score is None and trainer.is_global_zero:
        interval = trainer.check_val_every_n_epoch
        print(f"no best.ckpt was written, because validation runs only every {interval} epochs")
    return float("nan") if score is None else float(score)


def config_files(configured: dict[str, Any]) -> dict[str, str]:
    """Return the files that Hydra would write itself, by name, to write when training starts."""
    hydra = HydraConfig.get()
    contents: dict[str, Any] = {
        "config": configured,
        "hydra": {"hydra": hydra},
        "overrides": hydra.overrides.task,
    }
    return {
        f".hydra/{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(content))
        for name, content in contents.items()
    }
