"""Runs the programs as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


PLAIN = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def run(script, *arguments, cwd, **environment):
    """Run a script; its exit code, what it printed, and what it complained of."""
    return subprocess.run(
        command(script, *arguments), cwd=cwd, env=os.environ | PLAIN | environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def started(script, *arguments, cwd, log, **environment):
    """A script that runs, with all that it starts, in a group of its own; what it says is a log."""
    with log.open("a") as out:
        return subprocess.Popen(
            command(script, *arguments), cwd=cwd, env=os.environ | PLAIN | environment, stdout=out,
            stderr=out, start_new_session=True,
        )  # fmt: skip


def command(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]


def found_first(folder):
    """Environment of a program that finds the modules of a folder before any others."""
    paths = filter(None, [str(folder), os.environ.get("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(paths)}


def succeeded(result):
    assert result.returncode == 0, result.stdout + result.stderr
    return result
