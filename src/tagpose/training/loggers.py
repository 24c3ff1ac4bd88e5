"""Loggers: a CSV file that survives resuming, and wandb, offline by default."""

import csv
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from tagpose.io import write_json

_BEST_FILE: Final = "best.json"  # in the wandb folder of a run
_INIT_TIMEOUT: Final = 20  # seconds to wait for the server; wandb's default of 90 looks like a hang
_STEP_METRIC: Final = "trainer/global_step"  # Lightning's name for the step
# summary values of metrics by prefix; of all other metrics wandb keeps the last value
_SUMMARIES: Final = {"val/ap/": "max", "val/ar/": "max", "val/loss/": "min"}


class ResumableCSVLogger(CSVLogger):
    """CSV logger that keeps the rows of earlier steps when a run resumes.

    Args:
        save_dir: folder of the run.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(save_dir, name="", version="")

    @rank_zero_only
    def discard_rows_from(self, step: int) -> None:
        """Discard the rows of a step and later ones; Lightning would discard all rows."""
        file = Path(self.save_dir) / "metrics.csv"
        if not file.exists():
            return
        with file.open(newline="") as stream:  # the last row may be incomplete
            rows = [row for row in csv.DictReader(stream) if (row["step"] or "").isdigit()]
        rows = [row for row in rows if int(row["step"]) < step]
        self.experiment.metrics = [{n: v for n, v in row.items() if v} for row in rows]
        self.save()


def truncate_logs(loggers: Iterable[Logger], step: int) -> None:
    """Discard logged rows from a step on, which a resumed run logs again."""
    for logger in loggers:
        if isinstance(logger, ResumableCSVLogger):
            logger.discard_rows_from(step)


class OfflineWandbLogger(WandbLogger):
    """Wandb logger that is offline by default; `wandb sync` uploads the run later.

    If the folder already has a wandb run, that run is resumed.

    The summary of the run has the best value of each validation score. After training, the best
    checkpoint is logged as an artifact with its scores. Lightning's `log_model` is not used,
    because it is an error offline.

    Args:
        save_dir: folder of the run.
        project: wandb project.
        online: whether to upload while training. If that fails, the run is offline after a warning.
        log_artifact: whether to log the best checkpoint as an artifact; None does so if online.
            Offline, the run refers to the file, which must stay in place until `wandb sync`.
        options: options of Lightning's WandbLogger.
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
        for run_folder in sorted(self.best_file.parent.glob("*run-*")):
            # run-DATE_TIME-ID
            run_id = run_folder.name.partition("run-")[2].partition("-")[2]
            options |= {"id": run_id, "resume": "allow"}
        settings = wandb.Settings(silent=True, init_timeout=_INIT_TIMEOUT)
        super().__init__(save_dir=save_dir, project=project, settings=settings, **options)
        self._wandb_init.pop("anonymous", None)  # Lightning passes None, which wandb warns about
        is_online = online and bool(self._try_online())
        if not is_online:
            self._wandb_init["mode"] = "offline"
        self.log_artifact = is_online if log_artifact is None else log_artifact
        self.defined_metrics: set[str] = set()
        self.scores: dict[str, float] = {}  # scores of the last validation
        # best checkpoint and its scores, possibly from before the run was resumed
        self.best: dict[str, Any] = (
            json.loads(self.best_file.read_bytes()) if self.best_file.exists() else {}
        )

    @rank_zero_only
    def _try_online(self) -> bool:
        """Start the run online and return whether that succeeded."""
        reason = "no API key is stored; run `wandb login`"
        try:
            if wandb.login(prompt=False):
                self.experiment  # noqa: B018 -- connects
                return True
        except (wandb.errors.Error, TimeoutError) as error:
            reason = str(error)
        warnings.warn(f"wandb runs offline: {reason}", stacklevel=4)
        return False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        scores = {name: metrics[name] for name in metrics if name.startswith(tuple(_SUMMARIES))}
        for name in [name for name in scores if name not in self.defined_metrics]:
            # by full name: if two patterns match, such as Lightning's *, wandb picks either
            summary = next(best for prefix, best in _SUMMARIES.items() if name.startswith(prefix))
            key = name.replace(".", r"\.")  # an unescaped dot means nesting
            self.experiment.define_metric(
                key, step_metric=_STEP_METRIC, step_sync=True, summary=summary
            )
            self.defined_metrics.add(name)
        self.scores = scores or self.scores
        super().log_metrics(metrics, step)

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        if checkpoint_callback.monitor:  # without a metric, it saves the last checkpoint
            self.best = {"file": checkpoint_callback.best_model_path, "scores": self.scores}
            write_json(self.best_file, self.best)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status != "success" or not self.log_artifact or not self.best:
            return
        file = self._find_best_checkpoint()
        if not file:
            warnings.warn(
                f"{self.best['file']} is missing and is not logged to wandb", stacklevel=2
            )
            return
        name, scores = f"model-{self.experiment.id}", self.best["scores"]
        artifact = wandb.Artifact(name, type="model", metadata=scores)
        # no copy when the file is added or after the upload: it has hundreds of megabytes
        artifact.add_file(str(file), policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact, aliases=["best"])

    def _find_best_checkpoint(self) -> Path | None:
        """Return the best checkpoint, or None; the folder of the run may have been moved."""
        file = Path(self.best["file"])
        moved = self.best_file.parents[1] / file.name
        return next((path for path in (file, moved) if path.is_file()), None)


def mark_preempting(loggers: Iterable[Logger]) -> None:
    """Mark wandb runs as preempting, so that the server restarts those of a sweep."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.mark_preempting()


def _ensure_cache(folder: Path) -> None:
    """Let wandb write its cache and internal log to a folder if the user has no cache folder.

    Without HOME, as in some containers, wandb would write that log to stderr.
    """
    home = os.environ.get("HOME")
    user_cache = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    cache = Path(user_cache or os.devnull) / "wandb"
    with suppress(OSError):  # then the folder is not writable either
        cache.mkdir(parents=True, exist_ok=True)
    if not os.access(cache, os.W_OK):
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))
