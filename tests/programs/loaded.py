"""Loads the libraries once, and forks a process for each program that it is told to run.

A line of JSON on its input says which, its exit code on the output is the answer.
"""

import atexit
import gc
import json
import os
import runpy
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

# what programs spend their first seconds on
SLOW = ("albumentations", "hydra", "lightning", "matplotlib.pyplot", "timm", "torchmetrics")
# these import what may not be installed
EXTRAS = (
    *("tagpose.export", "tagpose.app", "tagpose.video", "tagpose.cli.app", "tagpose.cli.export"),
    *("tagpose.inference.formats.parquet", "tagpose.inference.formats.pose_file"),
)


class Exit:
    """The last of the functions that are called at exit: it leaves what is loaded to the system.

    To take it apart would be five of the six seconds of a short program.
    """

    def __init__(self):
        self.code = None  # of a child whose program has ended, but not by Ctrl-C
        atexit.register(self)

    def __call__(self):
        if self.code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


def load():
    """Load them, the package, and its compiled code."""
    for name in SLOW:
        import_module(name)
    for module in walk_packages(import_module("tagpose").__path__, "tagpose."):
        if not module.name.startswith(EXTRAS):
            import_module(module.name)
    import_module("tagpose.codec.warm_up").warm_up()
    gc.freeze()


def become(end, argv, cwd, environment, streams):
    """Be the program, from its directory to its exit code."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    tempfile.tempdir = None  # its environment may name another one
    # the first program that ends would remove the folder of wandb that all have inherited
    import_module("wandb.sdk.data_types._private").MEDIA_TMP.__init__("wandb-media")
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv, sys.path[:1] = argv, [str(Path(argv[0]).parent), *paths]
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    try:
        runpy.run_path(argv[0], run_name="__main__")
        end.code = 0
    except SystemExit as wanted:
        end.code = wanted.code if isinstance(wanted.code, int) else int(wanted.code is not None)
        raise
    except Exception:
        end.code = 1
        raise


if __name__ == "__main__":
    end = Exit()
    load()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(end, **json.loads(line))
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
