"""Run a search of conf/sweep here, one run after the other: python scripts/sweep.py [sweep=NAME].

The file is one of `wandb sweep`; its grid becomes Hydra's --multirun, which needs no server.
"""

import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from tagpose.complaints import told_in_a_sentence
from tagpose.training.history import read_history

_ROOT = Path(__file__).parents[1]
_CHOICES = {"value", "values"}


def main(arguments: list[str]) -> None:
    """Read the search, run it, show its runs; further arguments are overrides of every run."""
    with told_in_a_sentence():
        search = read_search(arguments)
    overrides = [a for a in arguments if not a.startswith("sweep=")]
    taken = {override.partition("=")[0] for override in overrides}
    grid = [g for g in multirun(search["parameters"]) if g.partition("=")[0] not in taken]
    folder = Path("runs") / "sweep" / f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    command = [sys.executable, str(_ROOT / search["program"]), "--multirun"]
    command += [f"hydra.sweep.dir={folder}", *grid, *overrides]
    code = subprocess.run(command, check=False).returncode
    Console().print(table(folder, search["metric"]["name"]))
    raise SystemExit(code)


def read_search(arguments: list[str]) -> dict[str, Any]:
    """The file that sweep=NAME names, conf/sweep/demo.yaml where none is named."""
    named = [a.partition("=")[2] for a in arguments if a.startswith("sweep=")]
    file = _ROOT / "conf" / "sweep" / f"{(named or ['demo'])[-1]}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in file.parent.glob("*.yaml")))
        raise FileNotFoundError(f"{file} is missing; there are {known}")
    search: Any = OmegaConf.to_container(OmegaConf.load(file))
    odd = [n for n, choice in search["parameters"].items() if not choice.keys() & _CHOICES]
    if search.get("method") != "grid" or odd:
        raise ValueError(
            f"{file} is no grid of value and values, which is all that runs here; use `wandb sweep`"
        )
    return search


def multirun(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The overrides of a grid search: `value` stands alone, `values` are tried in turn."""
    return [
        f"{name}={','.join(map(str, choice.get('values', [choice.get('value')])))}"
        for name, choice in parameters.items()
    ]


def table(folder: Path, metric: str) -> Table:
    """The runs of a search, the best first: the metric's best value, and what was chosen."""
    runs = []
    for file in folder.glob("*/metrics.csv"):
        values = [v for curve in read_history(file) if curve.name == metric for v in curve.values]
        chosen: Any = OmegaConf.load(file.parent / ".hydra" / "overrides.yaml")
        runs.append((max(values, default=float("nan")), " ".join(chosen), str(file.parent)))
    result = Table(metric, "overrides", "run", title=str(folder))
    for value, overrides, run in sorted(runs, reverse=True):
        result.add_row(f"{value:.3f}", overrides, run)
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
