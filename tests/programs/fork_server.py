"""Server that imports the libraries once and forks a process for each program to run.

Each request is a line of JSON on stdin; the response is the exit code of the program on stdout.
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

# modules that take long to import
SLOW = ("albumentations", "hydra", "lightning", "matplotlib.pyplot", "timm", "torchmetrics")
# modules that import optional dependencies
EXTRAS = (
    *("tagpose.export", "tagpose.app", "tagpose.video"),
    *("tagpose.inference.formats.parquet", "tagpose.inference.formats.pose_file"),
)


class Exit:
    """Last exit function, which ends the process without freeing its modules.

    Freeing them would take five of the six seconds of a short program.
    """

    def __init__(self):
        self.code = None  # exit code of a child that has ended, except by Ctrl-C
        atexit.register(self)

    def __call__(self):
        if self.code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


def import_libraries():
    """Import the libraries, the package and its compiled code."""
    for name in SLOW:
        import_module(name)
    for module in walk_packages(import_module("tagpose").__path__, "tagpose."):
        if not module.name.startswith(EXTRAS):
            import_module(module.name)
    import_module("tagpose.codec.warm_up").warm_up()
    gc.freeze()


def become_program(exit_function, argv, cwd, environment, streams):
    """Turn this process into the program, with its folder, environment and streams."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    tempfile.tempdir = None  # the environment may name another folder
    # otherwise the first program to end would remove the inherited folder of wandb
    import_module("wandb.sdk.data_types._private").MEDIA_TMP.__init__("wandb-media")
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv, sys.path[:1] = argv, [str(Path(argv[0]).parent), *paths]
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    try:
        runpy.run_path(argv[0], run_name="__main__")
        exit_function.code = 0
    except SystemExit as error:
        code = error.code
        exit_function.code = code if isinstance(code, int) else int(code is not None)
        raise
    except Exception:
        exit_function.code = 1
        raise


if __name__ == "__main__":
    exit_function = Exit()
    import_libraries()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become_program(exit_function, **json.loads(line))
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
