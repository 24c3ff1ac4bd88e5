"""Handling of signals, tested with real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tagpose.signals import STOP_SIGNALS, defer_signals, forward_signals

# the child handles signals even if they are ignored in the parent (SIGHUP by nohup)
FORWARDING = """
import signal, subprocess, sys
from tagpose.signals import STOP_SIGNALS, forward_signals
def reset():
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
command = ["bash", "-c", sys.argv[1]]
child = subprocess.Popen(command, start_new_session=True, preexec_fn=reset, stdout=-1, text=True)
child.stdout.readline()
with forward_signals(child.pid):
    print("ready", flush=True)
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
    """Start a script, and wait until it handles signals."""
    process = subprocess.Popen(
        [*(["nohup"] if nohup else []), sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
        # SIGINT is ignored in background jobs of a shell, such as a run of all tests
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_a_signal_is_forwarded_to_the_child_and_does_not_end_the_parent_before_it(name):
    parent = start(FORWARDING, f"trap 'exit 7' {name}; echo; while :; do sleep 0.05; done")
    parent.send_signal(getattr(signal, name))
    assert parent.communicate(timeout=30)[0] == "7\n"
    assert parent.returncode == 0


def test_a_program_started_by_nohup_does_not_forward_the_signal_of_a_closed_terminal(tmp_path):
    end = tmp_path / "end"
    child = f"trap 'exit 7' HUP; echo; while [ ! -e {end} ]; do sleep 0.05; done; exit 3"
    parent = start(FORWARDING, child, nohup=True)
    os.kill(parent.pid, signal.SIGHUP)
    time.sleep(0.3)
    end.touch()
    assert parent.communicate(timeout=30)[0] == "3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_deferred_signal_is_recorded_and_the_second_ends_the_program(number):
    process = start(DEFERRING)
    process.send_signal(number)
    assert process.stdout.readline() == f"{int(number)}\n"
    process.send_signal(number)
    process.communicate(timeout=20)  # it would sleep for longer
    assert process.returncode != 0


@pytest.mark.parametrize("handling", [lambda: forward_signals(1), defer_signals])
def test_the_previous_handlers_are_restored(handling):
    before = read_handlers()
    with handling():
        assert read_handlers() != before
    assert read_handlers() == before


def read_handlers():
    return [signal.getsignal(number) for number in STOP_SIGNALS]
