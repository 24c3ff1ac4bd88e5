"""Signals: programs forward them, finish first, or leave them alone, each in a real process."""

import os
import signal
import subprocess
import sys
import time

import pytest

FORWARDING = """
import subprocess, sys
from tagpose.signals import forward_signals
child = subprocess.Popen(["bash", "-c", sys.argv[1]], start_new_session=True)
with forward_signals(child.pid):
    print(child.wait(), flush=True)
"""

DEFERRING = """
import time
from tagpose.signals import defer_signals
with defer_signals() as received:
    print("ready", flush=True)
    while not received():
        time.sleep(0.01)
    print(received(), flush=True)
    time.sleep(30)
"""


def start(script, *arguments, nohup=False):
    command = [*(["nohup"] if nohup else []), sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_a_signal_is_forwarded_to_the_child_and_does_not_end_the_parent_before_it(tmp_path, name):
    ready = tmp_path / "ready"
    child = f"trap 'exit 7' {name}; touch {ready}; while :; do sleep 0.05; done"
    parent = start(FORWARDING, child)
    wait_for(ready.exists)
    parent.send_signal(getattr(signal, name))
    assert parent.communicate(timeout=30)[0] == "7\n"
    assert parent.returncode == 0


def test_a_forwarding_program_started_by_nohup_still_ignores_a_closed_terminal(tmp_path):
    ready, end = tmp_path / "ready", tmp_path / "end"
    child = f"trap 'exit 7' HUP; touch {ready}; while [ ! -e {end} ]; do sleep 0.05; done; exit 3"
    parent = start(FORWARDING, child, nohup=True)
    wait_for(ready.exists)
    os.kill(parent.pid, signal.SIGHUP)
    time.sleep(0.2)
    end.touch()
    assert parent.communicate(timeout=30)[0] == "3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_deferred_signal_is_recorded_and_the_second_ends_the_program(number):
    process = start(DEFERRING)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"{int(number)}\n"
    process.send_signal(number)
    process.communicate(timeout=20)  # it would sleep for longer
    assert process.returncode != 0
