"""This file makes the loggers: a table that goes on with its run, and wandb, which never asks."""

import csv
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from tagpose.io import write_json

_BEST_FILE: Final = "best.json"  # beside the runs of wandb
_INIT_TIMEOUT: Final = 20  # seconds for its server to answer; the library's own 90 look like a hang
_STEP_METRIC: Final = "trainer/global_step"  # Lightning's name of the steps
# what a run's summary has of a metric whose name begins so; of all others it has the last
_SUMMARIES: Final = {"val/ap/": "max", "val/ar/": "max", "val/loss/": "min"}


class ResumableCSVLogger(CSVLogger):
    """The metrics.csv of a run, which goes on where the run does.

    Args:
        save_dir: folder of the run.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(save_dir, name="", version="")

    @rank_zero_only
    def discard_rows_from(self, step: int) -> None:
        """Keep the rows of the steps before that one, which come not again; Lightning drops all."""
        file = Path(self.save_dir) / "metrics.csv"
        if not file.exists():
            return
        with file.open(newline="") as lines:  # of which the last may be half a row
            rows = [row for row in csv.DictReader(lines) if (row["step"] or "").isdigit()]
        rows = [row for row in rows if int(row["step"]) < step]
        self.experiment.metrics = [{n: v for n, v in row.items() if v} for row in rows]
        self.save()


class OfflineWandbLogger(WandbLogger):
    """A run of wandb, offline unless asked; `wandb sync` uploads later what it kept.

    In a folder that has a run already it is that run which goes on.

    The run's summary has the best value of each score of the validation. The checkpoint that is
    best becomes an artifact of the run, with its own scores, once training has ended.
    Lightning's `log_model` is left alone: offline it is an error.

    Args:
        save_dir: folder of the run.
        project: of wandb.
        online: whether to send. Where that fails, a warning says so and the run is kept offline.
        log_artifact: whether the best checkpoint becomes one; by default where the run is online.
            Offline the run refers to the file where it lies, so it must lie there until the sync.
        options: of Lightning's WandbLogger.
    """

    def __init__(
        self,
        save_dir: str | Path,
        project: str,
        *,
        online: bool,
        log_artifact: bool | None = None,
        **options: Any,
    ) -> None:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        self.best_file = Path(save_dir) / "wandb" / _BEST_FILE
        _ensure_cache(self.best_file.parent)
        for earlier in sorted(self.best_file.parent.glob("*run-*")):
            # run-DATE_TIME-ID
            options |= {"id": earlier.name.split("run-")[1].partition("-")[2], "resume": "allow"}
        settings = wandb.Settings(silent=True, init_timeout=_INIT_TIMEOUT)
        super().__init__(save_dir=save_dir, project=project, settings=settings, **options)
        self._wandb_init.pop("anonymous", None)  # wandb warns even of the None that Lightning gives
        is_online = online and bool(self._try_online())
        if not is_online:
            self._wandb_init["mode"] = "offline"
        self.log_artifact = is_online if log_artifact is None else log_artifact
        self.defined_metrics: set[str] = set()
        self.scores: dict[str, float] = {}  # of the last validation
        # a checkpoint and its scores, maybe of before the run was stopped
        self.best: dict[str, Any] = (
            json.loads(self.best_file.read_bytes()) if self.best_file.exists() else {}
        )

    @rank_zero_only
    def _try_online(self) -> bool:
        """Start the run online; whether that succeeded."""
        reason = "no API key; `wandb login` stores one"
        try:
            if wandb.login(prompt=False):
                self.experiment  # noqa: B018 -- connects
                return True
        except (wandb.errors.Error, TimeoutError) as error:
            reason = str(error)
        warnings.warn(f"wandb is kept offline: {reason}", stacklevel=4)
        return False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        scores = {name: metrics[name] for name in metrics if name.startswith(tuple(_SUMMARIES))}
        for name in [name for name in scores if name not in self.defined_metrics]:
            # one by one: of two patterns that fit a name, such as Lightning's *, wandb takes any
            summary = next(best for start, best in _SUMMARIES.items() if name.startswith(start))
            key = name.replace(".", r"\.")  # a dot would be a level of nesting
            self.experiment.define_metric(
                key, step_metric=_STEP_METRIC, step_sync=True, summary=summary
            )
            self.defined_metrics.add(name)
        self.scores = scores or self.scores
        super().log_metrics(metrics, step)

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        if checkpoint_callback.monitor:  # one without keeps the last, whatever its scores
            self.best = {"file": checkpoint_callback.best_model_path, "scores": self.scores}
            write_json(self.best_file, self.best)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status != "success" or not self.log_artifact or not self.best:
            return
        name, scores = f"model-{self.experiment.id}", self.best["scores"]
        artifact = wandb.Artifact(name, type="model", metadata=scores)
        # neither copied when it is added nor when it was sent: it has hundreds of megabytes
        artifact.add_file(self.best["file"], policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact, aliases=["best"])


def _ensure_cache(folder: Path) -> None:
    """Make wandb write its cache and its own log to a folder if the user has no cache folder.

    Without HOME, as in some containers, it would write that log to stderr.
    """
    home = os.environ.get("HOME")
    user = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    cache = Path(user or os.devnull) / "wandb"
    with suppress(OSError):  # a folder that cannot be created cannot be written either
        cache.mkdir(parents=True, exist_ok=True)
    if not os.access(cache, os.W_OK):
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))
