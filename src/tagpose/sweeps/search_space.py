"""Search spaces of hyperparameter sweeps, in the format of `wandb sweep`."""

import json
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import islice, product
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

Overrides: TypeAlias = dict[str, str]  # Hydra overrides of a run: key to value as text

_METHODS: Final = ("grid", "random")
_GOALS: Final = ("minimize", "maximize")  # the first one is wandb's default
# of wandb's schema; those that only its server and agents use are ignored
_KEYS: Final = (
    "program", "method", "metric", "parameters", "run_cap", "command", "name", "description",
    "project", "entity", "early_terminate",
)  # fmt: skip
_SIGNIFICANT_DIGITS: Final = 3  # of sampled floats
_SAMPLERS: Final[dict[str, Callable[[np.random.Generator, Any, Any], float]]] = {
    "uniform": lambda random, low, high: random.uniform(low, high),
    "log_uniform_values": lambda random, low, high: np.exp(
        random.uniform(np.log(low), np.log(high))
    ),
    "int_uniform": lambda random, low, high: int(random.integers(low, high, endpoint=True)),
}


class Sweep(NamedTuple):
    """Program, search method, metric and search space of a sweep."""

    program: str  # script, relative to the root of the project
    method: str  # "grid" or "random"
    metric: str  # name under which runs log it
    maximize: bool  # whether larger values of the metric are better
    max_runs: int | None  # None runs the whole grid
    parameters: dict[str, dict[str, Any]]  # `value`, `values`, or `distribution`, `min` and `max`

    @property
    def varied_parameters(self) -> list[str]:
        """Names of the parameters that differ between runs."""
        return [name for name, choice in self.parameters.items() if "value" not in choice]


def parse_sweep(
    content: Mapping[str, Any], *, max_runs: str | None = None, metric: str | None = None
) -> Sweep:
    """Parse and validate the content of a sweep file.

    Args:
        content: content of the file.
        max_runs: overrides its `run_cap`.
        metric: overrides its `metric.name`.

    Raises:
        ValueError: a key is missing, or the sweep needs a feature of wandb's server.
    """
    _check_shape(content)
    method, parameters = content.get("method"), content["parameters"]
    if method not in _METHODS:
        raise ValueError(
            f"unknown method {method!r}; use {' or '.join(_METHODS)} (`wandb sweep` runs others)"
        )
    for name, choice in parameters.items():
        _check_parameter(name, choice, method)
    limit = str(max_runs or content.get("run_cap", ""))
    if not limit.isdecimal() and (limit or method == "random"):  # a grid is finite
        raise ValueError(
            f"the number of runs must be an integer, got {limit!r}; set run_cap in the sweep file "
            "or pass count=N"
        )
    return Sweep(
        program=content["program"],
        method=method,
        metric=metric or content["metric"]["name"],
        maximize=content["metric"].get("goal") == "maximize",
        max_runs=int(limit) if limit else None,
        parameters=parameters,
    )


def _check_shape(content: Any) -> None:
    """Raise ValueError if the content of a sweep file is not a mapping of known, typed keys."""
    if not isinstance(content, Mapping):
        raise ValueError("the sweep is not a mapping of keys to values; see conf/sweep/demo.yaml")
    if missing := [key for key in ("program", "metric", "parameters") if not content.get(key)]:
        raise ValueError(f"the sweep has no {', '.join(missing)}; add them to the file")
    if unknown := [key for key in content if key not in _KEYS]:
        near = get_close_matches(str(unknown[0]), _KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use some of {', '.join(_KEYS)}"
        raise ValueError(f"unknown key {unknown[0]} in the sweep; {hint}")
    if "early_terminate" in content:
        raise ValueError(
            "early_terminate is not supported; remove it, or run the sweep with `wandb sweep`"
        )
    if not isinstance(content["program"], str):
        raise ValueError(f"program is {content['program']!r}; use a name such as train")
    _check_metric(content["metric"])
    if not isinstance(content["parameters"], Mapping):
        raise ValueError(
            f"parameters is {content['parameters']!r}; use a mapping of options to `value`, "
            "`values` or `distribution`"
        )


def _check_metric(metric: Any) -> None:
    """Raise ValueError if the metric of a sweep is not a name and a goal."""
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise ValueError(f"metric is {metric!r}; use a mapping with `name` and `goal`")
    if unknown := [key for key in metric if key not in ("name", "goal", "target")]:
        raise ValueError(f"unknown key metric.{unknown[0]} in the sweep; use name and goal")
    if (goal := metric.get("goal", _GOALS[0])) not in _GOALS:
        raise ValueError(f"metric.goal is {goal!r}; use {' or '.join(_GOALS)}")


def _check_parameter(name: str, choice: Any, method: str) -> None:
    """Raise ValueError if a parameter of a sweep cannot be run here."""
    if not isinstance(choice, Mapping):
        key = "values" if isinstance(choice, list) else "value"
        raise ValueError(f"parameter {name} is {choice!r}; write it as {name}: {{{key}: {choice}}}")
    if {"values"} == choice.keys() and not isinstance(choice["values"], list):
        raise ValueError(
            f"parameter {name} has values: {choice['values']!r}, which is not a list; use "
            f"value: {choice['values']}, or values: [{choice['values']}]"
        )
    if {"value"} == choice.keys() or ({"values"} == choice.keys() and choice["values"]):
        return
    if choice.keys() != {"distribution", "min", "max"} or choice["distribution"] not in _SAMPLERS:
        raise ValueError(
            f"parameter {name} is {dict(choice)}; use `value`, `values`, or a `distribution` "
            f"({', '.join(_SAMPLERS)}) with `min` and `max`"
        )
    if method == "grid":
        raise ValueError(
            f"parameter {name} has a distribution, but a grid needs `values`; list them, or use "
            "method: random"
        )
    _check_range(name, choice)


def _check_range(name: str, choice: Mapping[str, Any]) -> None:
    """Raise ValueError if a distribution has an empty range or bounds that are not numbers."""
    for bound in ("min", "max"):
        if not isinstance(choice[bound], int | float) or not math.isfinite(choice[bound]):
            raise ValueError(
                f"parameter {name} has {bound}: {choice[bound]!r}, which is not a finite number; "
                "use one such as 0.001 (YAML reads 1e-3 as a text, and 1.0e-3 as a number)"
            )
    logarithmic = choice["distribution"] == "log_uniform_values"
    if choice["min"] > choice["max"] or (logarithmic and choice["min"] <= 0):
        raise ValueError(
            f"parameter {name} has the empty range from {choice['min']} to {choice['max']}; use "
            "min <= max, and min > 0 for log_uniform_values"
        )


def list_overrides(sweep: Sweep) -> list[Overrides]:
    """Return the overrides of each run; a longer sweep starts with the runs of a shorter one."""
    names, choices = sweep.parameters.keys(), sweep.parameters.values()
    if sweep.method == "grid":
        grid = product(*(choice.get("values", [choice.get("value")]) for choice in choices))
        combinations = list(islice(grid, sweep.max_runs))
    else:
        generators = map(np.random.default_rng, range(sweep.max_runs or 0))
        combinations = [tuple(_sample_value(c, random) for c in choices) for random in generators]
    return [dict(zip(names, map(_format_value, values), strict=True)) for values in combinations]


def _sample_value(choice: Mapping[str, Any], random: np.random.Generator) -> Any:
    """Sample one value of a parameter."""
    if "distribution" in choice:
        value = _SAMPLERS[choice["distribution"]](random, choice["min"], choice["max"])
        return value if isinstance(value, int) else float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    values = choice.get("values", [choice.get("value")])
    return values[int(random.integers(len(values)))]


def _format_value(value: Any) -> str:
    """Format a value as Hydra reads it on a command line."""
    return value if isinstance(value, str) else json.dumps(value)
