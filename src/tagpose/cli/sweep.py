"""Run a hyperparameter sweep on this machine, offline: tagpose sweep [sweep=NAME ...].

The sweep is conf/sweep/NAME.yaml, or a file if NAME ends with .yaml; `wandb sweep` reads the same
files. Further options are count=N (number of runs), metric=NAME (the metric to optimize) and
folder=FOLDER. The same command with the folder of an interrupted sweep resumes it, and a second
process with the folder of a running sweep takes the next free runs. All other words are overrides
of every run.
"""

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf

from tagpose.cli.console import print_tables
from tagpose.cli.errors import friendly_errors
from tagpose.cli.program import config_folder
from tagpose.evaluation.cached_outputs import read_manifest
from tagpose.sweeps.search_space import Overrides, Sweep, parse_sweep
from tagpose.sweeps.trials import (
    make_trial_table,
    overrides_to_words,
    run_trials,
    sort_trials,
)

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
