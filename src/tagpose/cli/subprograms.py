"""Programs that run as subprocesses of other programs, such as `reproduce`."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig

from tagpose.cli.errors import format_error
from tagpose.cli.option_checks import check_options
from tagpose.cli.program import parse_command_line, quote_sweep
from tagpose.io import write_json
from tagpose.signals import STOP_SIGNALS, forward_signals, signal_exit_code

STEP_NAME: Final = "step.json"  # record of `run_once`

# overrides that may differ between machines, and locations of files
_MACHINE_OVERRIDES: Final = (
    "checkpoint", "data.root", "hydra.run.dir", "images", "init_from", "metrics", "output",
    "results", "trainer", "trainer.accelerator", "trainer.accumulate_grad_batches",
    "trainer.devices", "trainer.num_nodes", "ground_truth",
)  # fmt: skip


class Step(NamedTuple):
    """A program to run, usually one of several in turn."""

    folder: Path  # output folder, which the overrides name
    verb: str  # key of `tagpose.cli.main.PROGRAMS`
    overrides: tuple[str, ...]


class ProcessUsage(NamedTuple):
    """Resources that a subprocess used."""

    seconds: float
    memory: float  # bytes, peak resident size of its largest process


def synthesis_step(root: str, overrides: Iterable[str] = ()) -> Step:
    """Return the step that draws a synthetic dataset."""
    return Step(Path(root), "data synthesize", (f"root={root}", *overrides))


def run_subprogram(step: Step, launcher: Sequence[str] = ()) -> ProcessUsage:
    """Run the program of a step, and exit with its code if it fails.

    Stop signals are forwarded to the subprogram, which decides when to exit.

    Args:
        step: program to run.
        launcher: command that launches it, such as srun and its options.
    """
    words = [*step.verb.split(), *map(quote_sweep, step.overrides)]
    print(f"\n$ {shlex.join([*launcher, 'tagpose', *words])}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen([*launcher, sys.executable, "-m", "tagpose", *words])
    with forward_signals(process.pid):
        _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait again
    if code:
        raise SystemExit(code if code > 0 else signal_exit_code(-code))
    kibibytes = 1 if sys.platform == "darwin" else 1024
    return ProcessUsage(time.monotonic() - start, float(usage.ru_maxrss * kibibytes))


def is_stop(error: SystemExit) -> bool:
    """Return whether `run_subprogram` exits because of a signal that it forwarded."""
    return int(error.code or 0) in map(signal_exit_code, STOP_SIGNALS)


def check_steps(steps: Iterable[Step]) -> dict[Step, DictConfig]:
    """Check the options of all steps before the first one starts.

    Call this from a function with the decorator `program`.

    Returns:
        The composed configuration of each step.

    Raises:
        ValueError: an override of a step is invalid, or different steps have the same folder.
    """
    by_folder: dict[Path, Step] = {}
    configs: dict[Step, DictConfig] = {}
    for step in dict.fromkeys(steps):  # variants share steps
        if by_folder.setdefault(step.folder, step) != step:
            raise ValueError(
                f"{step.folder} would be the folder of two runs with different options; change the "
                "names of variants that differ only in special characters"
            )
        name = step.verb.replace(" ", "_")
        words = parse_command_line([quote_sweep(word) for word in step.overrides])
        try:
            configs[step] = compose(name, words)
            check_options(name, configs[step])
        except (HydraException, ValueError) as error:
            raise ValueError(
                f"tagpose {step.verb} in {step.folder}: {format_error(error)}"
            ) from error
    return configs


def run_once(step: Step, launcher: Sequence[str] = ()) -> ProcessUsage:
    """Run a step, unless it has succeeded before, and record that in its output folder.

    Args:
        step: program to run.
        launcher: command that launches it, such as srun and its options.

    Returns:
        The resources that the successful run used.

    Raises:
        ValueError: it has succeeded before with other overrides.
    """
    folder, verb, overrides = step
    if is_done(folder):
        return _read_step(folder, overrides)
    try:
        usage = run_subprogram(step, launcher)
    except SystemExit as error:
        if int(error.code or 0) > signal_exit_code(0):
            print(f"{folder} was interrupted; run the same command to resume", file=sys.stderr)
        raise
    write_json(folder / STEP_NAME, {"verb": verb, "overrides": overrides, **usage._asdict()})
    return usage


def is_done(folder: Path) -> bool:
    """Return whether `run_once` has succeeded in a folder."""
    return (folder / STEP_NAME).exists()


def _read_step(folder: Path, overrides: Sequence[str]) -> ProcessUsage:
    """Return the recorded resources, after a check that the overrides are the recorded ones."""
    step = json.loads((folder / STEP_NAME).read_bytes())
    old, new = (_result_overrides(words) for words in (step["overrides"], overrides))
    if old != new:
        raise ValueError(
            f"{folder} was run with other options ({', '.join(sorted(old ^ new))}); repeat the "
            "earlier command, or use another folder with run=FOLDER"
        )
    print(f"{folder} is done and is skipped")
    return ProcessUsage(step["seconds"], step["memory"])


def _result_overrides(overrides: Sequence[str]) -> set[str]:
    """Return the overrides that results depend on."""
    return {word for word in overrides if word.partition("=")[0] not in _MACHINE_OVERRIDES}
