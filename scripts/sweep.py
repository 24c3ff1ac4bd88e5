"""Run a search here, one run after the other, offline: python scripts/sweep.py [sweep=NAME].

The search is conf/sweep/NAME.yaml, or the file NAME if it ends so; `wandb sweep` reads it too.
Words are also count=N, of runs, metric=NAME, that decides, and folder=FOLDER: the same command with
the folder of a search that was broken off goes on with it, and a second process with the folder of
a search that is running takes the next free runs. All others are overrides of every run.
"""

import shlex
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tagpose.complaints import told_in_a_sentence
from tagpose.evaluation.saved_fields import read_contents
from tagpose.output import print_tables, tolerate_output_errors
from tagpose.training.history import best_value
from tagpose.training.search import Search, Told, make_search, runs_of
from tagpose.training.trials import TABLE, Trial, add_trials, best, ended, own_trial, table

_ROOT = Path(__file__).parents[1]
_OWN = ("sweep", "count", "metric", "folder")
_STAGES = ("pretrain", "finetune")
_BEFORE_EVALUATION = ("fields", "truth")  # what tune.py is told and evaluate.py is not


def main(arguments: list[str]) -> None:
    """Run what is not done yet, show all runs, and say how to go on with the best."""
    tolerate_output_errors()
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    words = dict(word.partition("=")[::2] for word in arguments)
    own = {name: words.pop(name) for name in _OWN if name in words}
    with told_in_a_sentence():
        name = own.get("sweep", "demo")
        search = read_search(name, words, own)
        now = f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
        folder = Path(own.get("folder") or f"runs/sweep/{Path(name).stem}/{now}")
        if "folder" in own and not words and "sweep" not in own and not folder.exists():
            raise FileNotFoundError(f"{folder} is missing, so there is no search to go on with")
        trials = run_all(search, folder)
    print_tables(table(trials, search, str(folder)))
    if trials and (first := best(trials, largest=search.largest)[0]).done:
        print(f"best: {going_on(search, first.told)}")
    raise SystemExit(any(not trial.done for trial in trials))


def read_search(name: str, words: Told, own: dict[str, str]) -> Search:
    """The search of that name or file, in which the overrides are values that stand."""
    known_ones = _ROOT / "conf" / "sweep"
    file = Path(name) if name.endswith(".yaml") else known_ones / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in known_ones.glob("*.yaml")))
        raise FileNotFoundError(f"{file} is missing; there are {known}")
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    fixed = {word: {"value": value} for word, value in words.items()}
    try:
        search = make_search(content, runs=own.get("count"), metric=own.get("metric"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return search._replace(parameters=search.parameters | fixed)


def run_all(search: Search, folder: Path) -> list[Trial]:
    """Run what the folder's table does not have as done, and what no other process runs."""
    runs = runs_of(search)
    others = folder.exists() and [file for file in folder.iterdir() if file.name[0] != "."]
    if others and folder / TABLE not in others:
        raise ValueError(f"{folder} has no {TABLE} and is of something else; name another folder=")
    trials = add_trials(folder, [], search)
    done = {trial.number for trial in trials if trial.done}
    print(f"{len(runs)} runs, {len(done)} done; folder={folder} goes on if broken off", flush=True)
    for number, told in enumerate(runs):
        with own_trial(folder, number, search) as place:
            if place:
                add_trials(folder, [run(search, place, number, told)], search)
    trials = add_trials(folder, [], search)
    if len(trials) < len(runs):
        print(f"{len(runs) - len(trials)} runs have not ended yet in other processes", flush=True)
    return trials


def run(search: Search, folder: Path, number: int, told: Told) -> Trial:
    """Run the program once, in a process of its own."""
    words = [*overrides(told), f"hydra.run.dir={folder}"]
    print(f"\n{number}: {shlex.join(words)}", flush=True)
    start = time.monotonic()
    try:
        program = [sys.executable, str(_ROOT / search.program)]
        code = subprocess.run([*program, *words], check=False).returncode
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    value = best_value(folder, search.metric, largest=search.largest)
    return ended(number, told, code, value, time.monotonic() - start)


def overrides(told: Told) -> list[str]:
    """Words of a command line; ~name, which removes something, has no value."""
    return [f"{n}={v}" if v or not n.startswith("~") else n for n, v in told.items()]


def going_on(search: Search, told: Told) -> str:
    """The command that goes on with what a run was told."""
    if search.program.endswith("tune.py"):
        made_by = read_contents(Path(told["fields"])).made_by
        saved = dict(word.partition("=")[::2] for word in made_by["told"])
        kept = {name: value for name, value in told.items() if name not in _BEFORE_EVALUATION}
        return command("evaluate", {"checkpoint": made_by["checkpoint"]["file"], **saved, **kept})
    stage = told.get("experiment", "")
    if stage in _STAGES:
        return command(stage, {name: value for name, value in told.items() if name != "experiment"})
    return command("finetune", told)


def command(target: str, told: Told) -> str:
    """A line for a shell."""
    return shlex.join(["make", target, *overrides(told)])


if __name__ == "__main__":
    main(sys.argv[1:])
