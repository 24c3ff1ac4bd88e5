"""What tests put into a training: something happens at a step."""

import json
import math
import os
import subprocess
import time
from pathlib import Path

import psutil
from lightning import Callback


class Signal(Callback):
    """Sends a signal to its own process at the end of a step."""

    def __init__(self, step, number, rank=0):
        self.step, self.number, self.rank = step, number, rank

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)


class SignalInValidation(Signal):
    """Sends it within the validation after a step."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        pass

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step == self.step and trainer.global_rank == self.rank and not batch_idx:
            os.kill(os.getpid(), self.number)


class SignalTwice(Signal):
    """Sends it, and once more after a time that a person would wait, within the same step."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)
            time.sleep(1.5)
            os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        pass


class SignalAtFirst(Signal):
    """Sends it where torchrun has not started the processes anew."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)


class Broadcasts(Callback):
    """Writes whether DDP broadcasts buffers before each batch."""

    def __init__(self, file):
        self.file = Path(file)

    def on_train_start(self, trainer, module):
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(trainer.model.broadcast_buffers))


class NotFinite(Callback):
    """Makes what the network says NaN, in one process, from a step on and for so many steps."""

    def __init__(self, step, steps, rank):
        self.steps, self.rank = range(step, step + steps), rank

    def on_train_start(self, trainer, module):
        def spoil(head, inputs, output):
            return output * math.nan if trainer.global_step in self.steps else output

        if trainer.global_rank == self.rank:
            module.network.head.register_forward_hook(spoil)


class ReadOnly(Callback):
    """Makes a disk one that cannot be written, at a step."""

    def __init__(self, step, place):
        self.step, self.place = step, place

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step:
            subprocess.run(["mount", "-o", "remount,ro", self.place], check=True)


class Watch(Callback):
    """Writes down now and then what memory and files the training has."""

    def __init__(self, file, every=50):
        self.file, self.every = Path(file), every

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step % self.every:
            return
        own = psutil.Process()
        workers = [one.memory_info().rss for one in own.children(recursive=True)]
        row = {
            "step": trainer.global_step,
            "main": own.memory_info().rss / 1e6,
            "workers": sum(workers) / 1e6,
            "files": own.num_fds(),
        }
        with self.file.open("a") as out:
            out.write(json.dumps(row) + "\n")
