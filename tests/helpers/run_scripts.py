"""Run the programs as a user does."""

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from helpers.fork_server import ForkServer

ROOT = Path(__file__).parents[2]
PLAIN = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
_STARTED = []  # processes of `started`


def run(script, *arguments, cwd, **environment):
    """Run a script to its end and return the finished process with its output."""
    return run_file(*command(script, *arguments)[1:], cwd=cwd, **environment)


def run_file(*argv, cwd, **environment):
    """Run a Python file like a script and return the finished process with its output."""
    with TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        code = fork_server().wait(start_file(*argv, cwd=cwd, out=out, err=err, **environment))
        return subprocess.CompletedProcess(argv, code, out.read_text(), err.read_text())


def start_file(*argv, cwd, out, err, **environment):
    """Start a Python file like a script, with its output in files, and return the process id.

    It runs in a fork of this process, because imports take most of the time of a short program.
    """
    return fork_server().start(
        argv=argv,
        cwd=str(cwd),
        environment=os.environ | PLAIN | environment,
        streams=[os.devnull, str(out), str(err)],
    )


@cache
def fork_server():
    """Start the server once per test process."""
    return ForkServer()


def started(script, *arguments, cwd, log, **environment):
    """Start a script in a new process group, with its output appended to a log file."""
    with log.open("a") as out:
        process = subprocess.Popen(
            command(script, *arguments), cwd=cwd, env=os.environ | PLAIN | environment, stdout=out,
            stderr=out, start_new_session=True,
        )  # fmt: skip
    _STARTED.append(process)
    return process


def kill_started():
    """Kill the process groups of `started` whose first process is still running."""
    while _STARTED:
        process = _STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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
