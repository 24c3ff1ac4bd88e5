"""Runs the programs as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(script, *arguments, cwd, **environment):
    """Run a script; its exit code, what it printed, and what it complained of."""
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]
    plain = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=os.environ | plain | environment, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


def succeeded(result):
    assert result.returncode == 0, result.stdout + result.stderr
    return result
