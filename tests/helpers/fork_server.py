"""Server that is forked from the test process, and forks a process for each program to run.

The test process has imported the libraries to collect the tests, so that a program starts in a
moment. Each request is a line of JSON: the arguments of `_run_program`, of which the answer is the
process id, or a process id, of which the answer is the exit code.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

# imports that take seconds
SLOW = ("albumentations", "hydra", "lightning", "matplotlib.pyplot", "torchmetrics")
# modules that import optional dependencies
EXTRAS = (
    *("tagpose.export", "tagpose.app", "tagpose.video", "tagpose.cli.app", "tagpose.cli.export"),
    "tagpose.inference.formats.pose_file",
)
# as without options of the interpreter
HIDDEN_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
TESTS = str(Path(__file__).parents[1])


class ForkServer:
    """A forked process that runs programs on request.

    Fork it before the first test, because a program must not start with what tests leave behind:
    threads, patches, warning filters and log handlers.
    """

    def __init__(self):
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        with warnings.catch_warnings():
            # newer Pythons warn about the threads of pytest-xdist, which the server does not use
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os.close(self._requests)  # the server ends with the test process
            os.close(self._answers)
            _serve(request_end, answer_end)
        os.close(request_end)
        os.close(answer_end)
        self._answer_lines = os.fdopen(self._answers)

    def start(self, **program):
        """Start a program and return the process id."""
        return self._ask(program)

    def wait(self, pid):
        """Wait for the end of a program and return the exit code."""
        return self._ask(pid)

    def _ask(self, request):
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        return int(self._answer_lines.readline())


def _serve(requests, answers):
    """Answer requests until the test process ends; never return."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with os.fdopen(requests) as lines:
            for number, line in enumerate(lines):
                if number == 0:
                    _import_all()
                os.write(answers, f"{_answer(json.loads(line))}\n".encode())
    except BaseException:
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(0)


def _answer(request):
    if isinstance(request, int):
        return os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
    child = os.fork()
    if not child:
        _run_program(**request)
    return child


def _import_all():
    """Import what the collected tests have not imported, and load the compiled code."""
    for name in SLOW:
        import_module(name)
    for module in walk_packages(import_module("tagpose").__path__, "tagpose."):
        if not module.name.startswith(EXTRAS):
            import_module(module.name)
    import_module("tagpose.codec.warm_up").warm_up()
    import_module("torch").set_num_threads(1)
    gc.freeze()


def _run_program(argv, cwd, environment, streams):
    """Run a program in this process as if it was started from the command line; never return.

    Args:
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
    _restore_interpreter()
    paths = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    _forget_hidden_modules(paths)
    others = [path for path in sys.path if path not in ("", TESTS)]
    sys.argv, sys.path = argv, [str(Path(argv[0]).parent), *paths, *others]
    code = 1
    try:
        with suppress(ModuleNotFoundError):
            import_module("sitecustomize")
        runpy.run_path(argv[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    finally:
        _exit(code)


def _restore_interpreter():
    """Undo what pytest has changed, and what programs of the same server would share."""
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    warnings.showwarning = _print_warning
    warnings.resetwarnings()
    for category in HIDDEN_WARNINGS:
        warnings.simplefilter("ignore", category)
    tempfile.tempdir = None  # the environment may name another one
    # the import of the app chooses a temporary folder, which programs would share
    for name in [name for name in sys.modules if name.startswith(("gradio", "tagpose.app"))]:
        del sys.modules[name]
    # wandb's temporary folder would be shared, and removed by the first program that ends
    media_folder = import_module("wandb.sdk.data_types._private").MEDIA_TMP
    media_folder._finalizer.detach()
    media_folder.__init__("wandb-media")


def _print_warning(message, category, filename, lineno, file=None, line=None):
    print(
        warnings.formatwarning(message, category, filename, lineno, line),
        end="",
        file=file or sys.stderr,
    )


def _forget_hidden_modules(paths):
    """Forget modules that files in these folders hide, and all that may have imported them."""
    hidden = {file.stem for path in paths for file in Path(path).glob("*.py")} & sys.modules.keys()
    hidden |= {"tagpose"} if hidden - {"sitecustomize"} else set()
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]


def _exit(code):
    """End this process without the cleanup of the interpreter, which would take seconds."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)
