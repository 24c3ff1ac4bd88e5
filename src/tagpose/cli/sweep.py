"""Run a hyperparameter sweep on this machine, offline: tagpose sweep [sweep=NAME ...].

The sweep is conf/sweep/NAME.yaml, or a file if NAME ends with .yaml; `wandb sweep` reads the same
files. Further options are count=N (number of runs), metric=NAME (the metric to optimize) and
folder=FOLDER. The same command with the folder of an interrupted sweep resumes it, and a second
process with the folder of a running sweep takes the next free runs. All other words are overrides
of every run.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf

from tagpose.cli.console import print_tables
from tagpose.cli.errors import friendly_errors
from tagpose.cli.program import config_folder, quote_sweep
from tagpose.evaluation.cached_outputs import read_manifest
from tagpose.sweeps.search_space import Overrides, Sweep, list_overrides, parse_sweep
from tagpose.sweeps.trials import (
    TABLE_NAME,
    Trial,
    claim_trial,
    make_trial,
    make_trial_table,
    merge_trials,
    sort_trials,
)
from tagpose.training.history import best_logged_value

_OPTIONS: Final = ("sweep", "count", "metric", "folder")
_TUNE_ONLY: Final = ("cached_outputs", "ground_truth")  # options that `evaluate` lacks


def main(arguments: Sequence[str]) -> None:
    """Run the trials that are not done, print all, and print the command for the best one."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    overrides = dict(word.partition("=")[::2] for word in arguments)
    options: dict[str, str] = {n: overrides.pop(n) for n in _OPTIONS if n in overrides}
    with friendly_errors():
        name = options.get("sweep", "demo")
        sweep = read_sweep(name, overrides, options)
        now = f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
        folder = Path(options.get("folder") or f"runs/sweep/{Path(name).stem}/{now}")
        is_resumed = "folder" in options and "sweep" not in options and not overrides
        if is_resumed and not folder.exists():
            raise FileNotFoundError(
                f"{folder} is missing, so there is no sweep to resume; start one with sweep=NAME"
            )
        trials = run_trials(sweep, folder)
    print_tables(make_trial_table(trials, sweep, str(folder)))
    if trials and (best := sort_trials(trials, maximize=sweep.maximize)[0]).done:
        print(f"best: {next_command(sweep, best.overrides)}")
    raise SystemExit(any(not trial.done for trial in trials))


def read_sweep(name: str, overrides: Overrides, options: dict[str, str]) -> Sweep:
    """Read a sweep file, in which overrides replace parameters with single values.

    Args:
        name: name of a file in `conf/sweep`, or a path that ends with .yaml.
        overrides: overrides of every run.
        options: options of this program.
    """
    folder = config_folder() / "sweep"
    file = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
        raise FileNotFoundError(f"{file} is missing; use a YAML file or one of {known}")
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    fixed = {key: {"value": value} for key, value in overrides.items()}
    try:
        sweep = parse_sweep(content, max_runs=options.get("count"), metric=options.get("metric"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return sweep._replace(parameters=sweep.parameters | fixed)


def run_trials(sweep: Sweep, folder: Path) -> list[Trial]:
    """Run the trials that are not done in the table and that no other process runs."""
    runs = list_overrides(sweep)
    files = folder.exists() and [file for file in folder.iterdir() if file.name[0] != "."]
    if files and folder / TABLE_NAME not in files:
        raise ValueError(
            f"{folder} has files but no {TABLE_NAME}, so it is not the folder of a sweep; use "
            "another folder=FOLDER"
        )
    trials = merge_trials(folder, [], sweep)
    done = {trial.number for trial in trials if trial.done}
    print(f"{len(runs)} runs, {len(done)} done; resume with folder={folder}", flush=True)
    for number, overrides in enumerate(runs):
        with claim_trial(folder, number, sweep) as trial_folder:
            if trial_folder:
                trial = run_trial(sweep, trial_folder, number, overrides)
                merge_trials(folder, [trial], sweep)
    trials = merge_trials(folder, [], sweep)
    if len(trials) < len(runs):
        print(f"{len(runs) - len(trials)} runs are still running in other processes", flush=True)
    return trials


def run_trial(sweep: Sweep, folder: Path, number: int, overrides: Overrides) -> Trial:
    """Run the program of a sweep, a verb of `tagpose` or a Python file, once as a subprocess."""
    words = [*overrides_to_words(overrides), quote_sweep(f"hydra.run.dir={folder}")]
    print(f"\n{number}: {shlex.join(words)}", flush=True)
    start = time.monotonic()
    try:
        is_file = sweep.program.endswith(".py")
        program = [sweep.program] if is_file else ["-m", "tagpose", *sweep.program.split()]
        code = subprocess.run([sys.executable, *program, *words], check=False).returncode
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    value = best_logged_value(folder, sweep.metric, maximize=sweep.maximize)
    return make_trial(number, overrides, code, value, time.monotonic() - start)


def next_command(sweep: Sweep, overrides: Overrides) -> str:
    """Return the command that uses the overrides of a trial: training or evaluation in full."""
    if sweep.program == "tune":
        provenance = read_manifest(Path(overrides["cached_outputs"])).provenance
        cached = dict(word.partition("=")[::2] for word in provenance["overrides"])
        decoder = {name: value for name, value in overrides.items() if name not in _TUNE_ONLY}
        checkpoint = {"checkpoint": provenance["checkpoint"]["file"]}
        return make_command("evaluate", checkpoint | cached | decoder)
    return make_command("train", overrides)


def make_command(verb: str, overrides: Overrides) -> str:
    """Return the command line of a program."""
    return shlex.join(["tagpose", verb, *overrides_to_words(overrides)])


def overrides_to_words(overrides: Overrides) -> list[str]:
    """Return overrides as command-line words; ~NAME, which removes a key, has no value."""
    return [f"{n}={v}" if v or not n.startswith("~") else n for n, v in overrides.items()]
