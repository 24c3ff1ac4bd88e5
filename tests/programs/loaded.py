"""Loads the libraries once, and forks a process for each program that it is told to run.

A line of JSON on its input says which, its exit code on the output is the answer.
"""

import json
import os
import runpy
import sys
from importlib import import_module
from pathlib import Path

# what programs spend their first seconds on
SLOW = ("albumentations", "hydra", "lightning", "matplotlib.pyplot", "timm", "torchmetrics")


def load():
    """Load them, but not wandb, though timm would: the first program that ends takes its folder."""
    sys.modules["wandb"] = None
    for name in SLOW:
        import_module(name)
    del sys.modules["wandb"]


def become(argv, cwd, environment, streams):
    """Be the program, from its directory to its exit code."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    sys.argv, sys.path[0] = argv, str(Path(argv[0]).parent)
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    load()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(**json.loads(line))
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
