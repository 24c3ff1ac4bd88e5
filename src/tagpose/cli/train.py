"""Train a stage: tagpose train experiment=pretrain|finetune|... [key=value ...]."""

import os
import warnings
from pathlib import Path
from typing import Any, Final

import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from tagpose.cli.program import program
from tagpose.data.datamodule import PoseDataModule
from tagpose.models.checkpoint import read_global_step
from tagpose.models.transfer import check_resumable, transfer_weights
from tagpose.provenance import fingerprint, package_versions
from tagpose.training.callbacks.run_lock import RunLock, lock_run
from tagpose.training.callbacks.run_manifest import RunManifest, flatten_keys, git_revision
from tagpose.training.checkpoint_io import find_latest_checkpoint, remove_temporary_checkpoints
from tagpose.training.history import draw_history
from tagpose.training.loggers import ResumableCSVLogger

_AUTO: Final = "auto"
_HARMLESS: Final = (
    "Experiment logs directory .* exists",  # Hydra made the run's folder
    "Checkpoint directory .* exists",
    ".isinstance.treespec, LeafSpec.. is deprecated",  # lightning 2.6.6 with torch 2.15
    "The '.*dataloader' does not have many workers",
    "You're resuming from a checkpoint that ended before the epoch",  # PoseDataModule goes on there
)
# what a run is told that changes no number of it
_NO_NUMBER: Final = ("paths", "resume", "run", "logger", "name")


@program("train", MisconfigurationException)
def main(cfg: DictConfig) -> None:
    """Train the configured model in a folder that no other run uses."""
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    folder, nodes = Path(cfg.paths.run), OmegaConf.select(cfg, "trainer.num_nodes", default=1)
    with lock_run(folder, nodes=nodes) as owner:
        if owner.is_owner:
            remove_temporary_checkpoints(folder)
        resume = earlier(cfg.resume, folder, named=is_named())
        if OmegaConf.is_missing(cfg, "init_from"):
            if not resume:
                raise ValueError(
                    "init_from is missing; name the checkpoint to start from, as "
                    "init_from=runs/pretrain/.../best.ckpt, or set init=scratch"
                )
            cfg.init_from = None
        configured: Any = OmegaConf.to_container(cfg, resolve=True)
        if resume:  # all weights come from its checkpoint
            cfg.init_from, cfg.model.network.pretrained = None, False
        failed = True
        try:
            train(cfg, resume, configured, owner)
            failed = False
        finally:
            # another run may follow in this process, and a failed one must not look finished
            wandb.finish(exit_code=int(failed))


def is_named() -> bool:
    """Whether the folder of the run is the same when the same command is given again."""
    overrides = HydraConfig.get().overrides
    words = [*overrides.task, *overrides.hydra]
    return any(word.startswith(("run=", "hydra.run.dir=")) for word in words)


def earlier(resume: str | None, folder: Path, *, named: bool) -> Path | None:
    """The checkpoint that a run goes on from, if it is to go on.

    Raises:
        ValueError: it cannot be known which, or those of an earlier run would be written over.
    """
    others = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_PROCID", 0)) > 0
    if not named and (resume == _AUTO or others):
        raise ValueError(
            "the run has no name by which it is found again, or by which its processes share a "
            "folder; run=NAME gives it one"
        )
    if resume == _AUTO:
        newest = find_latest_checkpoint(folder)
        print(f"{newest}: goes on" if newest else f"{folder} has no checkpoint, so the run begins")
        return newest
    file = Path(resume) if resume else None
    inside = file is not None and file.resolve().parent == folder.resolve()
    if any(folder.glob("*.ckpt")) and not inside:
        raise ValueError(
            f"{folder} has checkpoints of an earlier run; resume=auto goes on with it, another "
            "run=NAME begins anew"
        )
    return file


def train(cfg: DictConfig, resume: Path | None, configured: Any, owner: RunLock) -> float:
    """Train what the configuration describes; the best value of its monitor, NaN without any."""
    seed_everything(cfg.seed, workers=True)
    with warnings.catch_warnings():
        # a misspelt argument of a transform is only a warning to albumentations
        warnings.filterwarnings("error", message=".*not valid for transform")
        data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    model = instantiate(cfg.model, _convert_="object")
    if cfg.init_from:
        print(f"{cfg.init_from}: {transfer_weights(model.network, Path(cfg.init_from))}")
    callbacks = instantiate(cfg.callbacks, _convert_="object")
    record = RunManifest(
        Path(cfg.paths.run), lambda: made_of(configured, data), as_told(configured)
    )
    # a process that was refused the folder leaves the logs there alone
    logger = {} if owner.lock_error else instantiate(cfg.logger, _convert_="object")
    loggers = list(logger.values())
    if resume:
        check_resumable(model.network, resume)
        go_on(loggers, read_global_step(resume))
    trainer: Trainer = instantiate(
        cfg.trainer,
        callbacks=[owner, *callbacks.values(), record],
        logger=loggers,
        _convert_="object",
    )
    for logger in loggers:
        logger.log_hyperparams(configured)  # of a run that goes on, too, what it began from
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero:
        draw_history(Path(cfg.paths.run), f"{cfg.name} on {data.description}")
        print(f"run: {cfg.paths.run}")
    if "best_checkpoint" not in callbacks:  # ~callbacks.best_checkpoint
        return float("nan")
    best = callbacks["best_checkpoint"].best_model_score
    if best is None and trainer.is_global_zero:
        every = trainer.check_val_every_n_epoch
        print(f"there was no validation, hence no best.ckpt; it comes every {every} epochs")
    return float("nan") if best is None else float(best)


def as_told(configured: dict[str, Any]) -> dict[str, str]:
    """What the run was told, by the files that Hydra would write before it is refused or not."""
    hydra_own = HydraConfig.get()
    told_all: dict[str, Any] = {
        "config": configured,
        "hydra": {"hydra": hydra_own},
        "overrides": hydra_own.overrides.task,
    }
    return {
        f".hydra/{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(one))
        for name, one in told_all.items()
    }


def go_on(loggers: list[Any], step: int) -> None:
    """Have the loggers go on behind the steps that a checkpoint has."""
    for logger in loggers:
        if isinstance(logger, ResumableCSVLogger):
            logger.discard_rows_from(step)


def made_of(configured: dict[str, Any], data: PoseDataModule) -> dict[str, Any]:
    """What the numbers of the run depend on, by name."""
    files = (data.train_split.annotations, data.val_split.annotations)
    kept = {name: value for name, value in configured.items() if name not in _NO_NUMBER}
    return {
        **flatten_keys(kept),
        **flatten_keys({"annotations": {file: fingerprint(data.root / file) for file in files}}),
        **flatten_keys({"versions": package_versions()}),
        "code": git_revision(Path(__file__).parent),
    }
