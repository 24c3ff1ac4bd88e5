"""This file keeps the checkpoint that a run goes on from, and ends a run that is asked to end."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import distributed

NAME: Final = "last.ckpt"

# Schedulers end a job with SIGTERM, or warn it by SIGUSR1; a person with SIGINT.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
_AT_ONCE: Final = 1.0  # seconds in which signals count as one: whoever starts processes repeats it


class _Asked(NamedTuple):
    """What the processes agree on after a step."""

    signal: int  # that one of them got, or 0
    save: bool  # whether it is time to


class Last(Checkpoint):
    """Keeps `last.ckpt`, from which a run goes on exactly, and ends the run when a signal says so.

    A signal lets the step end, saves, and ends every process with the code 128 + signal, which
    schedulers take for a reason to start again; a second one ends the process at once.

    Saved is after a step now and then, after each epoch, and before the last step that precedes a
    validation: Lightning goes on behind a validation that it was stopped before.

    Args:
        folder: of the run.
        minutes: between two, within an epoch.
    """

    def __init__(self, folder: str | Path, minutes: float = 10.0) -> None:
        self.file, self.seconds = Path(folder) / NAME, 60 * minutes
        self.signal = 0
        self.received = self.saved = time.monotonic()
        self.earlier: dict[int, Any] = {}
        self.group: Any = None
        self.forward: Callable[[int], None] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.earlier = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listen()  # before workers start, which are told what their parents do
        if _is_started(trainer):
            Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        launcher: Any = trainer.strategy.launcher
        self.forward = launcher.kill if launcher else None
        if trainer.world_size > 1:
            # apart from the gradients': a GPU would have to end its step before it answers
            self.group = distributed.new_group(backend="gloo")

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()  # again, as Lightning puts its own in front, which end with the code 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        added = trainer.accumulate_grad_batches
        if not last and (batch_idx + 1) % added:
            return  # gradients that wait for others are in no checkpoint
        asked = self._agree(trainer)
        if not _validates(trainer, range(batch_idx, batch_idx + 1)):
            if last:
                return  # saved at the end of the epoch, which is now
            next_step = range(batch_idx + 1, batch_idx + 1 + added)
            if asked.signal or asked.save or _validates(trainer, next_step):
                self._save(trainer)
        if asked.signal:
            self._leave(trainer, asked.signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        if number := self._agree(trainer).signal:
            self._leave(trainer, number)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.signal:  # saved before; each process leaves, as they have different numbers of them
            self._leave(trainer, self.signal)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self.earlier.items():
            signal.signal(number, handler)

    def _listen(self) -> None:
        """Have signals remembered instead of obeyed."""
        for number in _SIGNALS:
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; obey one that is sent again."""
        del frame
        now = time.monotonic()
        if self.signal and now - self.received > _AT_ONCE:
            os._exit(128 + number)
        if not self.signal:
            self.signal, self.received = number, now
            if self.forward:
                self.forward(number)

    def _agree(self, trainer: Trainer) -> _Asked:
        """What any process was asked; all of them do the same after the same step."""
        late = time.monotonic() - self.saved > self.seconds
        asked = torch.tensor([self.signal, int(late and trainer.is_global_zero)])
        if self.group:
            distributed.all_reduce(asked, distributed.ReduceOp.MAX, group=self.group)
        number, save = asked.tolist()
        return _Asked(number, bool(save))

    def _save(self, trainer: Trainer) -> None:
        """Save, and what was logged until now."""
        trainer.save_checkpoint(self.file, weights_only=False)
        self.saved = time.monotonic()
        for logger in trainer.loggers:
            logger.save()

    def _leave(self, trainer: Trainer, number: int) -> None:
        """End this process."""
        name = signal.Signals(number).name
        rank_zero_info(f"{name}: stopped at step {trainer.global_step}; resume={self.file} goes on")
        # the first process kills all others where one that it started ends with another code
        raise SystemExit(0 if _is_started(trainer) else 128 + number)


def _is_started(trainer: Trainer) -> bool:
    """Whether another process of the same training started this one."""
    strategy: Any = trainer.strategy
    cluster = getattr(strategy, "cluster_environment", None)
    return bool(cluster and trainer.local_rank and not cluster.creates_processes_externally)


def _end_with_parent(parent: int) -> None:
    """Wait until the process that started this one is gone, and end: nobody would hear of it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _validates(trainer: Trainer, batches: range) -> bool:
    """Whether a validation follows one of the batches of those numbers in the epoch."""
    every = trainer.check_val_every_n_epoch
    counts = every is None or (trainer.current_epoch + 1) % every == 0
    between = trainer.val_check_batch or 1
    return trainer.enable_validation and counts and any((b + 1) % between == 0 for b in batches)
