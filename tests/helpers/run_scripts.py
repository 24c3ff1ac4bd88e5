"""Run the programs as a user does."""

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
    """Run a script to its end and return the finished process with its output.

    The script runs in a fork of a server that has imported the libraries, because imports take
    most of the time of a short program.
    """
    arguments = command(script, *arguments)
    with TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        request = {
            "argv": arguments[1:],
            "cwd": str(cwd),
            "environment": os.environ | PLAIN | environment,
            "streams": [os.devnull, str(out), str(err)],
        }
        server = _fork_server()
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@cache
def _fork_server():
    """Start the server once per test process."""
    program = [sys.executable, str(ROOT / "tests/programs/fork_server.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1"}  # tagpose sets it, but is imported too late
    return subprocess.Popen(program, env=os.environ | PLAIN | quiet, **pipes)


def started(script, *arguments, cwd, log, **environment):
    """Start a script in a new process group, with its output appended to a log file."""
    with log.open("a") as out:
        return subprocess.Popen(
            command(script, *arguments), cwd=cwd, env=os.environ | PLAIN | environment, stdout=out,
            stderr=out, start_new_session=True,
        )  # fmt: skip


def command(script, *arguments):
    """Return the command line of a script."""
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]


def found_first(folder):
    """Return environment variables with a folder at the start of the module search path."""
    paths = filter(None, [str(folder), os.environ.get("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(paths)}


def succeeded(result):
    """Return a finished process after checking its exit code."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result
