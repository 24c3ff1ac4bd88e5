"""Run programs of this project from another one."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """What a program took."""

    seconds: float
    memory: float  # bytes, the most that one process of it held


def call(script: str, *overrides: str, folder: Path | None = None) -> Cost:
    """Run a script of this project, and exit with its code if it fails.

    Args:
        script: its name, without the ending.
        overrides: overrides of its configuration.
        folder: folder of the scripts; by default that of the running one.
    """
    print(f"\n$ python scripts/{script}.py {shlex.join(overrides)}", flush=True)
    begun, program = time.monotonic(), (folder or Path(sys.argv[0]).parent) / f"{script}.py"
    process = subprocess.Popen([sys.executable, str(program), *overrides])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # nobody may wait for it again
    if process.returncode:
        raise SystemExit(process.returncode)
    kibibytes = 1 if sys.platform == "darwin" else 1024
    return Cost(time.monotonic() - begun, float(used.ru_maxrss * kibibytes))


def demo_checkpoint(runs: Path, scripts: Path) -> Path:
    """Return the checkpoint of the demo, a small trained network; train it if it is missing.

    Args:
        runs: folder of all runs.
        scripts: folder of the scripts.
    """
    file = runs / "demo/demo_finetune/best.ckpt"
    if not file.exists():
        print(f"{file} is missing; the demo trains it, which takes 15 minutes on 2 CPU cores")
        call("demo", f"run={runs / 'demo'}", folder=scripts)
    return file
