"""Run a search of conf/sweep here, one run after the other: python scripts/sweep.py [sweep=NAME].

The file is one of `wandb sweep`; its grid becomes Hydra's --multirun, which needs no server.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tagpose.complaints import told_in_a_sentence

_ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    """Read the search, run it; further arguments are overrides of every run."""
    with told_in_a_sentence():
        named = [a.partition("=")[2] for a in arguments if a.startswith("sweep=")]
        file = _ROOT / "conf" / "sweep" / f"{(named or ['demo'])[-1]}.yaml"
        if not file.exists():
            known = ", ".join(sorted(f.stem for f in file.parent.glob("*.yaml")))
            raise FileNotFoundError(f"{file} is missing; there are {known}")
        search: Any = OmegaConf.to_container(OmegaConf.load(file))
        overrides = [a for a in arguments if not a.startswith("sweep=")]
        taken = {override.partition("=")[0] for override in overrides}
        grid = [g for g in multirun(search["parameters"]) if g.partition("=")[0] not in taken]
    command = [sys.executable, str(_ROOT / search["program"]), "--multirun", *grid, *overrides]
    raise SystemExit(subprocess.run(command, check=False).returncode)


def multirun(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The overrides of a grid search: `value` stands alone, `values` are tried in turn."""
    return [
        f"{name}={','.join(map(str, choice.get('values', [choice.get('value')])))}"
        for name, choice in parameters.items()
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
