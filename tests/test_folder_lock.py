"""Folders with one owner, held by real processes, and what those leave that are killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from socket import gethostname

import psutil
import pytest

from helpers.run_scripts import ROOT
from tagpose.folder_lock import FolderInUseError, lock_file, lock_folder
from tagpose.training.checkpoint_io import remove_temporary_checkpoints

OWNING = ROOT / "tests/programs/owning.py"


def owning(folder, seconds=60.0, child=0.0):
    """A process that tries to own a folder, and a child of it that lives for some seconds."""
    program = [sys.executable, str(OWNING), str(folder), str(seconds), str(child)]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def processes():
    """Processes that are killed at the end of a test."""
    started = []
    yield started
    for process in started:
        with suppress(ProcessLookupError):  # it has ended, and so has its child
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_of_many_processes_that_start_at_once_one_owns_a_folder_and_the_others_name_it(
    tmp_path, processes
):
    processes += [owning(tmp_path / "a") for _ in range(8)]
    refused = []
    while len(refused) < 7:
        refused = [one for one in processes if one.poll() is not None]
        time.sleep(0.01)
    (owner,) = set(processes) - set(refused)
    assert owner.stdout.readline() == "owns\n"
    for one in refused:
        assert one.returncode == 1
        message = one.stderr.read()
        assert f"{tmp_path / 'a'} is in use by process {owner.pid} on {gethostname()}" in message
        assert "Traceback" not in message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_is_free_at_once_when_its_owner_is_killed_though_its_child_lives(
    tmp_path, processes, number
):
    owner = owning(tmp_path, child=60)
    processes.append(owner)
    assert owner.stdout.readline() == "owns\n"
    with pytest.raises(FolderInUseError, match=f"process {owner.pid} on"), lock_folder(tmp_path):
        pass
    (child,) = psutil.Process(owner.pid).children()
    os.kill(owner.pid, number)
    owner.wait()
    with lock_folder(tmp_path):
        assert child.is_running()


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path, processes):
    owner = owning(tmp_path, seconds=0.5)
    processes.append(owner)
    assert owner.stdout.readline() == "owns\n"
    with lock_file(tmp_path / ".lock", what="a", wait=30):
        assert owner.wait() == 0


def test_a_folder_that_cannot_be_locked_says_why():
    with pytest.raises(OSError, match="/proc/self/a"), lock_folder(Path("/proc/self/a")):
        pass


def temporary(folder, host, process, age=0.0):
    """A temporary checkpoint of a process, last written so many seconds ago."""
    file = folder / f"last.{host}.{process}.tmp.ckpt"
    file.touch()
    then = time.time() - age
    os.utime(file, (then, then))
    return file


def test_a_temporary_checkpoint_is_removed_where_its_process_is_dead_and_nowhere_else(
    tmp_path, processes
):
    dead = owning(tmp_path / "other", seconds=0)
    dead.communicate()
    live = owning(tmp_path / "other")
    processes.append(live)
    assert live.stdout.readline() == "owns\n"
    here, hour = gethostname(), 3600
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "my.tmp.ckpt").touch()
    kept = {
        tmp_path / "last.ckpt",
        tmp_path / "my.tmp.ckpt",  # no name of a temporary file of ours
        temporary(tmp_path, here, live.pid),
        temporary(tmp_path, here, os.getpid()),
        temporary(tmp_path, "elsewhere", 7),
    }
    temporary(tmp_path, here, dead.pid)
    # written before the process of that number was started
    temporary(tmp_path, here, f"{live.pid}".zfill(9), age=2 * hour)
    temporary(tmp_path, "elsewhere", 8, age=2 * hour)
    temporary(tmp_path, "host.with.dots", 8, age=2 * hour)
    remove_temporary_checkpoints(tmp_path)
    assert {file for file in tmp_path.iterdir() if file.is_file()} == kept
