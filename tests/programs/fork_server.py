"""Server that imports the libraries once, and forks a process for each program to run.

Each line of standard input is a JSON request with the arguments of `run_program`. The answer on
standard output is the exit code.
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

# imports that take seconds
SLOW = ("albumentations", "hydra", "lightning", "matplotlib.pyplot", "timm", "torchmetrics")
# modules that import optional dependencies
EXTRAS = (
    *("tagpose.export", "tagpose.app", "tagpose.video", "tagpose.cli.app", "tagpose.cli.export"),
    "tagpose.inference.formats.pose_file",
)


class FastExit:
    """The last exit handler of a program, which skips the interpreter's cleanup.

    The cleanup would take five of the six seconds of a short program.
    """

    def __init__(self):
        self.code = None  # exit code of a child that ended, unless by Ctrl-C
        atexit.register(self)

    def __call__(self):
        if self.code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


def import_all():
    """Import the libraries and the package, and load its compiled code."""
    for name in SLOW:
        import_module(name)
    for module in walk_packages(import_module("tagpose").__path__, "tagpose."):
        if not module.name.startswith(EXTRAS):
            import_module(module.name)
    import_module("tagpose.codec.warm_up").warm_up()
    gc.freeze()


def run_program(fast_exit, argv, cwd, environment, streams):
    """Run a program in this process as if it was started from the command line.

    Args:
        fast_exit: exit handler, which receives the exit code.
        argv: script and its arguments.
        cwd: working directory.
        environment: environment variables.
        streams: files of stdin, stdout and stderr.
    """
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    tempfile.tempdir = None  # the environment may name another one
    # wandb's temporary folder would be shared, and removed by the first program that ends
    import_module("wandb.sdk.data_types._private").MEDIA_TMP.__init__("wandb-media")
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv, sys.path[:1] = argv, [str(Path(argv[0]).parent), *paths]
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    try:
        runpy.run_path(argv[0], run_name="__main__")
        fast_exit.code = 0
    except SystemExit as error:
        fast_exit.code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    except Exception:
        fast_exit.code = 1
        raise


if __name__ == "__main__":
    fast_exit = FastExit()
    import_all()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run_program(fast_exit, **json.loads(line))
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
