"""What the tests share: a small set of synthetic people, drawn once."""

import gc
import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from helpers.run_scripts import fork_server, kill_started
from tagpose.data.synthetic import write_synthetic_dataset

gc.disable()  # until all tests are imported, an eighth of whose time the collector would take

ROOT = Path(__file__).parents[1]

# No deadline: laws also hold on a busy machine. CI tries the same examples every time, as whether a
# change passes must not depend on chance; local runs try new ones.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

# make test has a process for each core: more threads than cores wait for each other
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

# Programs inherit that SIGHUP is ignored, as it is under nohup, but not a handler.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session):
    """Fork the server of programs after the imports and before the first test."""
    gc.freeze()
    gc.enable()
    if not session.config.pluginmanager.hasplugin("dsession"):  # which only distributes tests
        fork_server()
    try:
        return (yield)
    finally:
        gc.unfreeze()  # libraries report objects that are not collected at the end


@pytest.fixture(autouse=True)
def _kill_started_programs():
    """End the programs that a failed test leaves running, which would slow down the next tests."""
    yield
    kill_started()


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Root of a dataset in the official layout: 12 images to learn from, 6 to be judged on."""
    root = tmp_path_factory.mktemp("data") / "synthetic"
    write_synthetic_dataset(root, train=12, val=6, image_size=192, max_people=2, processes=1)
    return root
