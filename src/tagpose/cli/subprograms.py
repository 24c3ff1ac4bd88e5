"""Run programs of this project from another one."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # that end a training


class ProcessUsage(NamedTuple):
    """What a program took."""

    seconds: float
    memory: float  # bytes, the most that one process of it held


def run_subprogram(verb: str, *overrides: str, launcher: Sequence[str] = ()) -> ProcessUsage:
    """Run `tagpose VERB`, and exit with its code if it fails.

    SIGTERM, SIGUSR1 and SIGINT are passed on to the program, which decides when it ends.

    Args:
        verb: key of `tagpose.cli.main.PROGRAMS`.
        overrides: overrides of its configuration.
        launcher: command that starts it, such as srun and its options.
    """
    words = [*verb.split(), *overrides]
    print(f"\n$ {shlex.join([*launcher, 'tagpose', *words])}", flush=True)
    begun = time.monotonic()
    process = subprocess.Popen([*launcher, sys.executable, "-m", "tagpose", *words])
    with _forward_signals(process.pid):
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # nobody may wait for it again
    if process.returncode:
        code = process.returncode
        raise SystemExit(code if code > 0 else 128 - code)  # as a shell has it after a signal
    kibibytes = 1 if sys.platform == "darwin" else 1024
    return ProcessUsage(time.monotonic() - begun, float(used.ru_maxrss * kibibytes))


@contextmanager
def _forward_signals(process: int) -> Iterator[None]:
    """Pass signals on to a process instead of ending before it."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        with suppress(ProcessLookupError):
            os.kill(process, number)

    handlers = {one: signal.signal(one, pass_on) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


def ensure_demo_checkpoint(runs: Path) -> Path:
    """Return the checkpoint of the demo, a small trained network; train it if it is missing.

    Args:
        runs: folder of all runs.
    """
    file = runs / "demo/demo_finetune/best.ckpt"
    if not file.exists():
        print(f"{file} is missing; the demo trains it, which takes 15 minutes on 2 CPU cores")
        run_subprogram("demo", f"run={runs / 'demo'}")
    return file
