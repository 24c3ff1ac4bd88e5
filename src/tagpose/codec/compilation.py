"""Compilation of loops over pixels with numba, and the threads that run them."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numba

# Numbers in compiled code, whose width numba infers: float32 or float64, and int32 or int64.
Float: TypeAlias = Any
Int: TypeAlias = Any

_Function = TypeVar("_Function", bound=Callable[..., object])

_SOURCES: Final = Path(__file__).parent
_CHUNKS_PER_THREAD: Final = 3  # uneven work is shared evenly, and a chunk costs about 30 us


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call, and cache the machine code on disk.

    Compiled functions release the GIL, so `run_parallel` can run them in threads. They copy arrays
    in loops: for an assignment of arrays numba also compiles the message of its shape error, which
    takes as long as a tenth of the decoder.
    """
    with_users_own = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        dispatcher: _Function = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = with_users_own
    return dispatcher


def inlined(function: _Function) -> _Function:
    """Make a function part of each compiled function that calls it.

    For functions with many arrays as arguments that are called row by row or pixel by pixel: a call
    counts references to every array, which takes longer than the work on a row. Functions that
    are called from several places or simple ones stay `compiled`, which takes less time to compile.
    """
    dispatcher: _Function = numba.njit(nogil=True, error_model="numpy", inline="always")(function)
    return dispatcher


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Return the first writable cache folder.

    Candidates are NUMBA_CACHE_DIR, the package itself, the user's cache directory and a private
    temporary folder. Numba notices a change in the file of a compiled function, but not in the
    files of the functions that it calls, so the name contains a hash of all of them.
    """
    files = [*sorted(_SOURCES.glob("*.py")), _SOURCES.parent / "structures.py"]
    sources = b"".join(file.read_bytes() for file in files)
    name = f"tagpose-{hashlib.sha256(sources).hexdigest()[:12]}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    given = os.environ.get("NUMBA_CACHE_DIR")
    installed = _SOURCES / "__pycache__" / name
    if given and _is_writable(Path(given) / name):
        return Path(given) / name
    if _is_writable(installed):
        _remove_others(installed)
        return installed
    cached = user / "tagpose" / name
    folder = cached if _is_writable(cached) else _temporary_folder(name)
    _copy_code(installed, folder)
    return folder


def _copy_code(installed: Path, folder: Path) -> None:
    """Copy what was compiled when the package was installed; numba only reads writable folders."""
    # machine code before the index that lists it, and each file at once, for other processes
    files = sorted(installed.rglob("*.nb?"), key=lambda file: file.suffix)
    with suppress(OSError):  # without them it is compiled again
        for file in files:
            copy = folder / file.relative_to(installed)
            if not copy.exists():
                copy.parent.mkdir(exist_ok=True)
                unfinished = copy.with_name(f"{copy.name}.{os.getpid()}.tmp")
                shutil.copyfile(file, unfinished)
                unfinished.replace(copy)


def _remove_others(folder: Path) -> None:
    """Remove compiled code of earlier versions of this installation."""
    for other in folder.parent.glob("tagpose-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _is_writable(folder: Path) -> bool:
    """Create a folder and check that files can be created in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_folder(name: str) -> Path:
    """Return a folder among the temporary files that no other user can write to.

    The cache contains pickles, so a folder that another user created must not be used.
    """
    user = getattr(os, "getuid", lambda: "user")()
    folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
    with suppress(OSError):  # a file of that name, or a dangling link
        folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    owned = stat.S_ISDIR(status.st_mode) and status.st_uid == user
    if owned and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    return Path(tempfile.mkdtemp(prefix=name))


def run_parallel(function: Callable[[int, int], object], count: int) -> None:
    """Split `range(count)` into chunks, and call `function(start, stop)` on each in a thread pool.

    Args:
        function: calls a compiled function, which releases the GIL.
        count: number of independent items.
    """
    chunks = min(count, _CHUNKS_PER_THREAD * numba.config.NUMBA_NUM_THREADS)
    bounds = [count * chunk // chunks for chunk in range(chunks + 1)] if chunks else [0]
    for _ in _threads().map(function, bounds[:-1], bounds[1:]):
        pass


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return the threads of this process; NUMBA_NUM_THREADS sets their number."""
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, "tagpose-decoder")


if hasattr(os, "register_at_fork"):  # a forked process inherits the executor without its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


@lru_cache(maxsize=1)
def compile_in_background() -> "subprocess.Popen[bytes] | None":
    """Start to compile the decoder in another process, unless the machine code is cached.

    For programs that have seconds of work before they decode; it also takes half the time that it
    takes beside torch, whose objects the garbage collector visits again and again.
    """
    if not announce_compilation():
        return None
    return subprocess.Popen(  # if it fails, the code is compiled here, which shows the error
        [sys.executable, "-m", f"{__package__}.warm_up"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache_folder().parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@lru_cache(maxsize=1)
def finish_compilation() -> None:
    """Wait for `compile_in_background`, or announce that the calls that follow compile."""
    if compile_in_background.cache_info().currsize:
        process = compile_in_background()
        if process:
            process.wait()
    else:
        announce_compilation()


@lru_cache(maxsize=1)
def announce_compilation() -> bool:
    """Return whether the decoder has to be compiled, and print a message if so."""
    last = f"*._fill_missing-*.py{sys.version_info.major}{sys.version_info.minor}.nbi"
    needed = not (numba.config.DISABLE_JIT or any(cache_folder().rglob(last)))
    if needed:
        print("Compiling the decoder, once per installation (about 20 s) ...", file=sys.stderr)
    return needed
