"""Callbacks that tests add to a training run to interfere at some step."""

import json
import math
import os
import subprocess
import time
from pathlib import Path

import psutil
from lightning import Callback


class Signal(Callback):
    """Send a signal to this process at the end of a step."""

    def __init__(self, step, number, rank=0):
        self.step, self.number, self.rank = step, number, rank

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)


class SignalInValidation(Signal):
    """Send the signal in the validation after a step."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        pass

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step == self.step and trainer.global_rank == self.rank and not batch_idx:
            os.kill(os.getpid(), self.number)


class SignalTwice(Signal):
    """Send the signal twice in the same step, 1.5 seconds apart."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)
            time.sleep(1.5)
            os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        pass


class SignalAtFirst(Signal):
    """Send the signal unless torchrun has restarted the processes."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)


class Broadcasts(Callback):
    """Write to a file whether DDP broadcasts buffers before each batch."""

    def __init__(self, file):
        self.file = Path(file)

    def on_train_start(self, trainer, module):
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(trainer.model.broadcast_buffers))


class NotFinite(Callback):
    """Make the network outputs NaN for some steps, on one rank or, with rank -1, on all."""

    def __init__(self, step, steps, rank):
        self.steps, self.rank = range(step, step + steps), rank

    def on_train_start(self, trainer, module):
        def make_nan(head, inputs, output):
            return output * math.nan if trainer.global_step in self.steps else output

        if self.rank in (-1, trainer.global_rank):
            module.network.head.register_forward_hook(make_nan)


class Fail(Callback):
    """Raise an error after a step, before the next batch is awaited."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise ValueError("the callback failed")


class ReadOnly(Callback):
    """Make a disk read-only at a step, although files are open for writing on it."""

    def __init__(self, step, disk):
        self.step, self.disk = step, disk

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step:
            subprocess.run(["mount", "--bind", self.disk, self.disk], check=True)
            subprocess.run(["mount", "-o", "remount,ro,bind", self.disk], check=True)


class RecordResources(Callback):
    """Write memory use and number of open files to a file at regular steps."""

    def __init__(self, file, every=50):
        self.file, self.every = Path(file), every

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step % self.every:
            return
        process = psutil.Process()
        workers = [child.memory_info().rss for child in process.children(recursive=True)]
        row = {
            "step": trainer.global_step,
            "main": process.memory_info().rss / 1e6,
            "workers": sum(workers) / 1e6,
            "files": process.num_fds(),
        }
        with self.file.open("a") as out:
            out.write(json.dumps(row) + "\n")
