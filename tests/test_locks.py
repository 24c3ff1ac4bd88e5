"""Folder locks of real processes, and the temporary files of killed ones."""

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
from tagpose.locks import LOCK_NAME, FolderInUseError, lock_file, lock_folder
from tagpose.training.resume_checkpoint import remove_temporary_checkpoints

PROGRAM = ROOT / "tests/programs/lock_folder.py"


def start_owner(folder, seconds=60.0, child=0.0):
    """Start a process that locks a folder, with a child process that lives for some seconds."""
    program = [sys.executable, str(PROGRAM), str(folder), str(seconds), str(child)]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def processes():
    """Return a list for processes, which are killed after the test."""
    started = []
    yield started
    for process in started:
        with suppress(ProcessLookupError):  # the process and its child have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_only_one_of_many_processes_locks_a_folder_and_the_others_name_it(tmp_path, processes):
    processes += [start_owner(tmp_path / "a") for _ in range(8)]
    refused = []
    while len(refused) < 7:
        refused = [process for process in processes if process.poll() is not None]
        time.sleep(0.01)
    (owner,) = set(processes) - set(refused)
    assert owner.stdout.readline() == "locked\n"
    for process in refused:
        assert process.returncode == 1
        message = process.stderr.read()
        assert f"{tmp_path / 'a'} is in use by process {owner.pid} on {gethostname()}" in message
        assert "Traceback" not in message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_is_unlocked_when_its_owner_is_killed_even_if_a_child_lives_on(
    tmp_path, processes, number
):
    owner = start_owner(tmp_path, child=60)
    processes.append(owner)
    assert owner.stdout.readline() == "locked\n"
    with pytest.raises(FolderInUseError, match=f"process {owner.pid} on"), lock_folder(tmp_path):
        pass
    (child,) = psutil.Process(owner.pid).children()
    os.kill(owner.pid, number)
    owner.wait()
    # the child, which was forked a moment ago, may not have closed its copy of the lock yet
    with lock_file(tmp_path / LOCK_NAME, what="a", wait=10):
        assert child.is_running()


def test_a_lock_can_be_waited_for(tmp_path, processes):
    owner = start_owner(tmp_path, seconds=0.5)
    processes.append(owner)
    assert owner.stdout.readline() == "locked\n"
    with lock_file(tmp_path / ".lock", what="a", wait=30):
        assert owner.wait() == 0


def test_the_error_of_a_folder_that_cannot_be_created_names_it():
    with pytest.raises(OSError, match="/proc/self/a"), lock_folder(Path("/proc/self/a")):
        pass


def make_temporary(folder, host, process, age=0.0):
    """Create a temporary checkpoint of a process, last written `age` seconds ago."""
    file = folder / f"last.{host}.{process}.tmp.ckpt"
    file.touch()
    written = time.time() - age
    os.utime(file, (written, written))
    return file


def test_temporary_checkpoints_are_removed_if_and_only_if_their_process_has_ended(
    tmp_path, processes
):
    dead = start_owner(tmp_path / "other", seconds=0)
    dead.communicate()
    live = start_owner(tmp_path / "other")
    processes.append(live)
    assert live.stdout.readline() == "locked\n"
    here, hour = gethostname(), 3600
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "my.tmp.ckpt").touch()
    remaining = {
        tmp_path / "last.ckpt",
        tmp_path / "my.tmp.ckpt",  # not the name of a temporary file of this project
        make_temporary(tmp_path, here, live.pid),
        make_temporary(tmp_path, here, os.getpid()),
        make_temporary(tmp_path, "elsewhere", 7),
    }
    make_temporary(tmp_path, here, dead.pid)
    # written before the process with this id was started
    make_temporary(tmp_path, here, f"{live.pid}".zfill(9), age=2 * hour)
    make_temporary(tmp_path, "elsewhere", 8, age=2 * hour)
    make_temporary(tmp_path, "host.with.dots", 8, age=2 * hour)
    remove_temporary_checkpoints(tmp_path)
    assert {file for file in tmp_path.iterdir() if file.is_file()} == remaining
