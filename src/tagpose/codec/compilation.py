"""Compilation of the decoder's loops with numba, and the threads that run them."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numba
import numba.extending
import numpy as np

# Numbers in compiled code, whose width numba infers: float32 or float64, and int32 or int64.
Float: TypeAlias = Any
Int: TypeAlias = Any

# Typed constants: numba would compile another signature for a literal.
ZERO: Final = np.int64(0)
FALSE: Final[Any] = np.bool_(False)
TRUE: Final[Any] = np.bool_(True)

CHUNK: Final = 16  # repetitions of inner loops: a constant number, so that they are vectorized

# functions of `warm_up`, each run in a process of its own, and the entry point that each compiles
BACKGROUND_TASKS: Final = {
    "compile_peaks": "_find_peaks",
    "compile_grouping": "_assign_keypoints",
    "compile_missing_keypoints": "_fill_missing",
}

_Function = TypeVar("_Function", bound=Callable[..., object])

_SOURCES: Final = Path(__file__).parent
# of all functions; no_cfunc_wrapper omits unused wrappers for C
_OPTIONS: Final[dict[str, Any]] = {"error_model": "numpy", "no_cfunc_wrapper": True}
_CHUNKS_PER_THREAD: Final = 3  # balances uneven work; the overhead of a chunk is about 30 us


def compiled(function: _Function) -> _Function:
    """Compile an entry point, a function called from Python, and cache its machine code on disk.

    Numba compiles it on the first call, together with the `compilable` functions that it calls. It
    releases the GIL, so `run_parallel` can run it in threads.
    """
    configured_folder = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        dispatcher: _Function = numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = configured_folder
    return dispatcher


def compilable(function: _Function) -> _Function:
    """Register a function that is called from compiled code.

    It must not create or return arrays (see `compilable_with_arrays`), because its arrays are not
    reference-counted: counting would take longer than the work on a row of pixels. Arrays are
    copied in loops, because numba compiles the error message of an array assignment, too, which
    takes a tenth of the time that the whole decoder takes. Called from Python, the function runs
    interpreted.
    """
    return _register(function, _nrt=False)


def compilable_with_arrays(function: _Function) -> _Function:
    """Register a function that creates or returns arrays and is called from compiled code."""
    return _register(function)


def _register(function: _Function, **options: bool) -> _Function:
    # register_jitable omits wrappers for Python, too; both would take a quarter of the time
    registered: _Function = numba.extending.register_jitable(**_OPTIONS, **options)(function)
    return registered


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Return the first writable cache folder.

    Candidates are NUMBA_CACHE_DIR, the package itself, the user's cache directory and a private
    temporary folder. Numba notices a change in the file of a compiled function, but not in the
    files of the functions that it calls, so the folder name contains a hash of all source files.
    """
    files = [*sorted(_SOURCES.glob("*.py")), _SOURCES.parent / "structures.py"]
    sources = b"".join(file.read_bytes() for file in files)
    name = f"tagpose-{hashlib.sha256(sources).hexdigest()[:12]}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    configured = os.environ.get("NUMBA_CACHE_DIR")
    installed = _SOURCES / "__pycache__" / name
    if configured and _is_writable(Path(configured) / name):
        return Path(configured) / name
    if _is_writable(installed):
        _remove_stale_caches(installed)
        return installed
    folder = user / "tagpose" / name
    if not _is_writable(folder):
        # in a folder of its own, which processes in the background get as NUMBA_CACHE_DIR
        folder = _temporary_folder(name) / name
        folder.mkdir(exist_ok=True)
    _copy_machine_code(installed, folder)
    return folder


def _copy_machine_code(installed: Path, folder: Path) -> None:
    """Copy the code compiled at installation, because numba only reads writable folders."""
    # Other processes may read meanwhile: data files precede their index, and each copy is atomic.
    files = sorted(installed.rglob("*.nb?"), key=lambda file: file.suffix)
    with suppress(OSError):  # the code is then compiled again
        for file in files:
            copy = folder / file.relative_to(installed)
            if not copy.exists():
                copy.parent.mkdir(exist_ok=True)
                unfinished = copy.with_name(f"{copy.name}.{os.getpid()}.tmp")
                shutil.copyfile(file, unfinished)
                unfinished.replace(copy)


def _remove_stale_caches(folder: Path) -> None:
    """Remove the compiled code of earlier versions of this installation."""
    for cache in folder.parent.glob("tagpose-*"):
        if cache != folder:
            shutil.rmtree(cache, ignore_errors=True)


def _is_writable(folder: Path) -> bool:
    """Create a folder and return whether files can be created in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_folder(name: str) -> Path:
    """Return a temporary folder that no other user can write to.

    The cache contains pickles, so a folder that another user created must not be used.
    """
    user = getattr(os, "getuid", lambda: "user")()
    folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
    with suppress(OSError):  # the path is a file or a dangling link
        folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    owned = stat.S_ISDIR(status.st_mode) and status.st_uid == user
    if owned and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    return Path(tempfile.mkdtemp(prefix=name))


def run_parallel(function: Callable[[int, int], object], count: int) -> None:
    """Call `function(start, stop)` on chunks of `range(count)`, in this thread and a thread pool.

    Args:
        function: callable that runs a compiled function, which releases the GIL.
        count: number of independent items.
    """
    threads = numba.config.NUMBA_NUM_THREADS
    chunks = min(count, _CHUNKS_PER_THREAD * threads)
    waiting = deque((count * i // chunks, count * (i + 1) // chunks) for i in range(chunks))

    def run_chunks() -> None:
        while waiting:
            try:
                start, stop = waiting.popleft()
            except IndexError:  # another thread took the last chunk
                return
            function(start, stop)

    # If this thread waited, it would lose its core, and the scheduler could wake two helpers on the
    # same core.
    helpers = [_thread_pool().submit(run_chunks) for _ in range(min(threads, chunks) - 1)]
    try:
        run_chunks()
    finally:
        waiting.clear()
        running = [helper for helper in helpers if not helper.cancel()]
        wait(running)
    for helper in running:
        helper.result()


@lru_cache(maxsize=1)
def _thread_pool() -> ThreadPoolExecutor:
    """Return the thread pool of this process; NUMBA_NUM_THREADS includes the calling thread."""
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS - 1, "tagpose-decoder")


if hasattr(os, "register_at_fork"):  # a forked process inherits the executor without its threads
    os.register_at_fork(after_in_child=_thread_pool.cache_clear)


@lru_cache(maxsize=1)
def compile_in_background() -> "list[subprocess.Popen[bytes]]":
    """Start compiling the decoder in three processes, unless the machine code is cached.

    On two cores this takes 20 to 30 seconds, and twice as long in a process with torch, whose many
    objects slow down garbage collection. The processes continue after this one has ended, so that
    the next one finds the machine code.

    Returns:
        The processes; none if this interpreter cannot start others.
    """
    if not _announce_compilation() or not sys.executable or getattr(sys, "frozen", False):
        return []
    # without garbage collection, which would take a fifth of the time; `sys.path` may be changed,
    # and the package that of an exported bundle
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {[*map(str, sys.path)]!r}; "
        f"from {__package__} import warm_up; warm_up."
    )
    try:
        return [
            subprocess.Popen(
                [sys.executable, "-c", f"{code}{task}()"],
                env=os.environ | {"NUMBA_CACHE_DIR": str(cache_folder().parent)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for task in BACKGROUND_TASKS
        ]
    except OSError:  # such as a limit on processes
        return []


@lru_cache(maxsize=1)
def finish_compilation() -> None:
    """Wait until the decoder is compiled.

    Programs that have seconds of work before they decode call `compile_in_background` first. If a
    process fails, this one compiles when it decodes.
    """
    codes = [process.wait() for process in compile_in_background()]
    if any(codes):
        print("It failed in the background and continues in this process ...", file=sys.stderr)


def _announce_compilation() -> bool:
    """Return whether the decoder has to be compiled, and print a message if so."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    indices = [f"*.{name}-*.{version}.nbi" for name in BACKGROUND_TASKS.values()]
    cached = all(any(cache_folder().rglob(index)) for index in indices)
    needed = not (numba.config.DISABLE_JIT or cached)
    if needed:
        print("Compiling the decoder, once per installation (10 to 30 s) ...", file=sys.stderr)
    return needed


if hasattr(os, "register_at_fork"):  # the processes are not children of a forked process
    os.register_at_fork(after_in_child=compile_in_background.cache_clear)
    os.register_at_fork(after_in_child=finish_compilation.cache_clear)
