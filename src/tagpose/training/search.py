"""This file says what the runs of a search are told; its format is that of `wandb sweep`."""

import json
from collections.abc import Callable, Mapping
from itertools import islice, product
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

Told: TypeAlias = dict[str, str]  # overrides of a run, the values as Hydra reads them

_METHODS: Final = ("grid", "random")
_DIGITS: Final = 3  # of a number that is drawn
_DRAWS: Final[dict[str, Callable[[np.random.Generator, Any, Any], float]]] = {
    "uniform": lambda draw, low, high: draw.uniform(low, high),
    "log_uniform_values": lambda draw, low, high: np.exp(draw.uniform(np.log(low), np.log(high))),
    "int_uniform": lambda draw, low, high: int(draw.integers(low, high, endpoint=True)),
}


class Search(NamedTuple):
    """What is tried, and what decides."""

    program: str  # a script of this project, relative to its root
    method: str  # grid or random
    metric: str  # under the name that runs log
    largest: bool  # whether its largest value is best
    runs: int | None  # at most; None for a whole grid
    parameters: dict[str, dict[str, Any]]  # value, or values, or distribution with min and max

    @property
    def varied(self) -> list[str]:
        """The parameters that differ between runs."""
        return [name for name, choice in self.parameters.items() if "value" not in choice]


def make_search(
    content: Mapping[str, Any], *, runs: str | None = None, metric: str | None = None
) -> Search:
    """The search that a file describes.

    Args:
        content: of the file.
        runs: in place of its `run_cap`.
        metric: in place of the name of its own.

    Raises:
        ValueError: the file lacks something, or asks for what only wandb's server does.
    """
    method, parameters = content.get("method"), content.get("parameters")
    if method not in _METHODS or not parameters or not content.keys() >= {"program", "metric"}:
        raise ValueError(
            f"method is {method!r}; what runs here has a program, its parameters, the metric that "
            f"decides, and one of the methods {', '.join(_METHODS)}; `wandb sweep` has others"
        )
    for name, choice in parameters.items():
        if fault := _fault(choice, method):
            raise ValueError(f"parameter {name}: {fault}")
    most = str(runs or content.get("run_cap", ""))
    if not most.isdecimal() and (most or method == "random"):  # a grid ends by itself
        raise ValueError(f"{most!r} is no number of runs; run_cap has it, or count=N")
    return Search(
        program=content["program"],
        method=method,
        metric=metric or content["metric"]["name"],
        largest=content["metric"].get("goal") == "maximize",
        runs=int(most) if most else None,
        parameters=parameters,
    )


def _fault(choice: Mapping[str, Any], method: str) -> str | None:
    """What is wrong with one parameter, if anything is."""
    if {"value"} == choice.keys() or ({"values"} == choice.keys() and choice["values"]):
        return None
    if choice.keys() != {"distribution", "min", "max"} or choice["distribution"] not in _DRAWS:
        return f"value, values, or one of {', '.join(_DRAWS)} with min and max are what runs here"
    if method == "grid":
        return "a grid has values; method: random draws from distributions"
    logarithmic = choice["distribution"] == "log_uniform_values"
    if choice["min"] > choice["max"] or (logarithmic and choice["min"] <= 0):
        return f"nothing lies between {choice['min']} and {choice['max']}"
    return None


def runs_of(search: Search) -> list[Told]:
    """What each run is told, always the same: a longer search begins with a shorter one's runs."""
    names, choices = search.parameters.keys(), search.parameters.values()
    if search.method == "grid":
        tried = product(*(choice.get("values", [choice.get("value")]) for choice in choices))
        combinations = list(islice(tried, search.runs))
    else:
        draws = map(np.random.default_rng, range(search.runs or 0))
        combinations = [tuple(_drawn(choice, draw) for choice in choices) for draw in draws]
    return [dict(zip(names, map(_text, values), strict=True)) for values in combinations]


def _drawn(choice: Mapping[str, Any], draw: np.random.Generator) -> Any:
    """One value of a parameter."""
    if "distribution" in choice:
        value = _DRAWS[choice["distribution"]](draw, choice["min"], choice["max"])
        return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
    values = choice.get("values", [choice.get("value")])
    return values[int(draw.integers(len(values)))]


def _text(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    return value if isinstance(value, str) else json.dumps(value)
