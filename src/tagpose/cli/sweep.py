"""Run a sweep here, one run after the other, offline: tagpose sweep [sweep=NAME].

The sweep is conf/sweep/NAME.yaml, or the file NAME if it ends so; `wandb sweep` reads it too.
Words are also count=N, of runs, metric=NAME, that decides, and folder=FOLDER: the same command with
the folder of a sweep that was broken off goes on with it, and a second process with the folder of
a sweep that is running takes the next free runs. All others are overrides of every run.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tagpose.cli.console import print_tables
from tagpose.cli.errors import friendly_errors
from tagpose.cli.program import config_folder
from tagpose.evaluation.cached_outputs import read_manifest
from tagpose.sweeps import (
    TABLE_NAME,
    Overrides,
    Sweep,
    Trial,
    claim_trial,
    list_overrides,
    make_trial,
    make_trial_table,
    merge_trials,
    parse_sweep,
    sort_trials,
)
from tagpose.training.history import best_value

_OWN = ("sweep", "count", "metric", "folder")
_STAGES = ("pretrain", "finetune")
_BEFORE_EVALUATION = (
    "cached_outputs",
    "ground_truth",
)  # what tune.py is told and evaluate.py is not


def main(arguments: Sequence[str]) -> None:
    """Run what is not done yet, show all runs, and say how to go on with the best."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    words = dict(word.partition("=")[::2] for word in arguments)
    own = {name: words.pop(name) for name in _OWN if name in words}
    with friendly_errors():
        name = own.get("sweep", "demo")
        sweep = read_sweep(name, words, own)
        now = f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
        folder = Path(own.get("folder") or f"runs/sweep/{Path(name).stem}/{now}")
        if "folder" in own and not words and "sweep" not in own and not folder.exists():
            raise FileNotFoundError(f"{folder} is missing, so there is no sweep to go on with")
        trials = run_all(sweep, folder)
    print_tables(make_trial_table(trials, sweep, str(folder)))
    if trials and (first := sort_trials(trials, maximize=sweep.maximize)[0]).done:
        print(f"best: {going_on(sweep, first.overrides)}")
    raise SystemExit(any(not trial.done for trial in trials))


def read_sweep(name: str, words: Overrides, own: dict[str, str]) -> Sweep:
    """The sweep of that name or file, in which the overrides are values that stand."""
    known_ones = config_folder() / "sweep"
    file = Path(name) if name.endswith(".yaml") else known_ones / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in known_ones.glob("*.yaml")))
        raise FileNotFoundError(f"{file} is missing; there are {known}")
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    fixed = {word: {"value": value} for word, value in words.items()}
    try:
        sweep = parse_sweep(content, max_runs=own.get("count"), metric=own.get("metric"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return sweep._replace(parameters=sweep.parameters | fixed)


def run_all(sweep: Sweep, folder: Path) -> list[Trial]:
    """Run what the folder's table does not have as done, and what no other process runs."""
    runs = list_overrides(sweep)
    others = folder.exists() and [file for file in folder.iterdir() if file.name[0] != "."]
    if others and folder / TABLE_NAME not in others:
        raise ValueError(
            f"{folder} has no {TABLE_NAME} and is of something else; name another folder="
        )
    trials = merge_trials(folder, [], sweep)
    done = {trial.number for trial in trials if trial.done}
    print(f"{len(runs)} runs, {len(done)} done; folder={folder} goes on if broken off", flush=True)
    for number, overrides in enumerate(runs):
        with claim_trial(folder, number, sweep) as place:
            if place:
                merge_trials(folder, [run(sweep, place, number, overrides)], sweep)
    trials = merge_trials(folder, [], sweep)
    if len(trials) < len(runs):
        print(f"{len(runs) - len(trials)} runs have not ended yet in other processes", flush=True)
    return trials


def run(sweep: Sweep, folder: Path, number: int, overrides: Overrides) -> Trial:
    """Run the program once, in a process of its own."""
    words = [*to_words(overrides), f"hydra.run.dir={folder}"]
    print(f"\n{number}: {shlex.join(words)}", flush=True)
    start = time.monotonic()
    try:
        program = [sys.executable, "-m", "tagpose", *sweep.program.split()]
        code = subprocess.run([*program, *words], check=False).returncode
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    value = best_value(folder, sweep.metric, maximize=sweep.maximize)
    return make_trial(number, overrides, code, value, time.monotonic() - start)


def to_words(overrides: Overrides) -> list[str]:
    """Words of a command line; ~name, which removes something, has no value."""
    return [f"{n}={v}" if v or not n.startswith("~") else n for n, v in overrides.items()]


def going_on(sweep: Sweep, overrides: Overrides) -> str:
    """The command that goes on with what a run was told."""
    if sweep.program == "tune":
        provenance = read_manifest(Path(overrides["cached_outputs"])).provenance
        saved = dict(word.partition("=")[::2] for word in provenance["overrides"])
        kept = {name: value for name, value in overrides.items() if name not in _BEFORE_EVALUATION}
        return command(
            "evaluate", {"checkpoint": provenance["checkpoint"]["file"], **saved, **kept}
        )
    stage = overrides.get("experiment", "")
    if stage in _STAGES:
        return command(
            stage, {name: value for name, value in overrides.items() if name != "experiment"}
        )
    return command("finetune", overrides)


def command(target: str, overrides: Overrides) -> str:
    """A line for a shell."""
    return shlex.join(["make", target, *to_words(overrides)])
