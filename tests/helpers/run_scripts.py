"""Runs the programs as a user runs them."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


PLAIN = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def run(script, *arguments, cwd, **environment):
    """Run a script; its exit code, what it printed, and what it complained of.

    A process that has the libraries already forks: they are most of a short program's time.
    """
    said = command(script, *arguments)
    with TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        asked = {
            "argv": said[1:],
            "cwd": str(cwd),
            "environment": os.environ | PLAIN | environment,
            "streams": [os.devnull, str(out), str(err)],
        }
        loaded = _loaded()
        print(json.dumps(asked), file=loaded.stdin, flush=True)
        code = int(loaded.stdout.readline())
        return subprocess.CompletedProcess(said, code, out.read_text(), err.read_text())


@cache
def _loaded():
    program = [sys.executable, str(ROOT / "tests/programs/loaded.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1"}  # as tagpose says, which is not loaded
    return subprocess.Popen(program, env=os.environ | PLAIN | quiet, **pipes)


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
