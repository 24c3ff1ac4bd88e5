"""Judge levers of accuracy one by one: python scripts/ablate.py [key=value of conf/ablate.yaml]."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import hydra
from omegaconf import DictConfig, OmegaConf

from tagpose.complaints import told, told_in_a_sentence
from tagpose.evaluation.ablation import Trial, ablation_lines
from tagpose.evaluation.rows import write_json
from tagpose.starting import Cost, call
from tagpose.writing import whole

_TOGETHER: Final = "all together"


@hydra.main(version_base="1.3", config_path="../conf", config_name="ablate")
def main(cfg: DictConfig) -> None:
    """Train and score what is not there yet, and print the table after each."""
    with told_in_a_sentence():
        if not Path(cfg.root).exists():
            sizes = [f"train={cfg.images}", f"val={cfg.held_out}", f"side={cfg.image_side}"]
            call("synthesise", f"root={cfg.root}", "sparse=true", "max_people=6", *sizes)
        levers = with_all(OmegaConf.to_container(cfg.levers, resolve=True), list(cfg.together))
        coding = {name: lever for name, lever in levers.items() if lever.get("coding")}
        show(cfg, "perfect.md", (perfect_trial(cfg, coding, name) for name in coding))
        each = ((seed, name) for seed in cfg.seeds for name in levers)
        show(cfg, "table.md", (trial(cfg, levers, name, seed) for seed, name in each))


def show(cfg: DictConfig, name: str, trials: Iterable[Trial]) -> None:
    """Print and write the table of what is there, after each trial."""
    done: list[Trial] = []
    for one in trials:
        done.append(one)
        lines = ablation_lines(done)
        with whole(Path(cfg.run) / name) as partial:
            partial.write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)


def with_all(levers: Any, together: list[str]) -> dict[str, dict[str, Any]]:
    """The levers, and at the end those together that are to be the recipe."""
    unknown = [name for name in together if name not in levers]
    if unknown:
        raise ValueError(f"together has {unknown[0]!r}, which is none of the levers")
    chosen = [levers[name] for name in together]
    every = {
        key: [o for one in chosen for o in one.get(key, [])] for key in ("both", "train", "test")
    }
    flags = {key: any(one.get(key) for one in chosen) for key in ("by_part", "coding")}
    return levers | {_TOGETHER: every | flags}


def trial(cfg: DictConfig, levers: dict[str, dict[str, Any]], name: str, seed: int) -> Trial:
    """What a lever brings with a seed, from the disk where it is there."""
    run, lever = Path(cfg.run) / f"seed{seed}", levers[name]
    trained_as = first_alike(levers, name, ["both", "train"])
    own = run / folder_of(trained_as)
    stage_one = start(cfg, run, seed, lever)
    learned = trained(cfg, own, [*cfg.second, f"init_from={stage_one}"], lever, seed)
    place = run / "tests" / folder_of(first_alike(levers, name, ["both", "train", "test"]))
    scored = (f"checkpoint={own}/best.ckpt", "data=synthetic", f"data.root={cfg.root}")
    tested = once(place, "evaluate", *scored, *cfg.test, *lever.get("test", []))
    trains = name == trained_as
    return Trial(
        lever=name,
        seed=seed,
        ap=ap_of(place, "ranked_by_part" if lever.get("by_part") else "parts"),
        train_seconds=learned.seconds if trains else 0.0,
        test_seconds=tested.seconds,
        memory=max(learned.memory, tested.memory) if trains else tested.memory,
    )


def first_alike(levers: dict[str, dict[str, Any]], name: str, keys: list[str]) -> str:
    """The first lever that says the same as one under some keys; they share what came of it."""
    said = {each: [one.get(key, []) for key in keys] for each, one in levers.items()}
    return next(each for each in levers if said[each] == said[name])


def perfect_trial(cfg: DictConfig, levers: dict[str, dict[str, Any]], name: str) -> Trial:
    """What a lever brings on perfect maps, which know no seed."""
    lever = levers[name]
    alike = first_alike(levers, name, ["both", "train", "test"])
    place = Path(cfg.run) / "perfect" / folder_of(alike)
    changed = [o for key in ("both", "train", "test") for o in lever.get(key, [])]
    cost = once(place, "perfect", "data=synthetic", *cfg.published, *changed, *seen(cfg))
    return Trial(
        lever=name,
        seed=0,
        ap=ap_of(place, "parts"),
        train_seconds=0.0,
        test_seconds=cost.seconds,
        memory=cost.memory,
    )


def folder_of(lever: str) -> str:
    """What the folder of a lever is called."""
    return lever.replace(" ", "_")


def ap_of(place: Path, table: str) -> dict[str, float]:
    """AP of each part, of a table that was written to a folder."""
    parts = json.loads((place / "metrics.json").read_bytes())[table]
    return {part: numbers["ap"] for part, numbers in parts.items()}


def seen(cfg: DictConfig) -> list[str]:
    """Overrides that say what is looked at, and how large."""
    return [f"data.root={cfg.root}", f"side={cfg.side}"]


def start(cfg: DictConfig, run: Path, seed: int, lever: dict[str, Any]) -> Path:
    """Train stage one with a seed and what a lever changes in both stages."""
    folder = run / "_".join(["first", *map(folder_of, lever.get("both", []))])
    trained(cfg, folder, list(cfg.first), {"both": lever.get("both", [])}, seed)
    return folder / "best.ckpt"


def trained(
    cfg: DictConfig, folder: Path, stage: list[str], lever: dict[str, Any], seed: int
) -> Cost:
    """Train, or go on with a training that was stopped."""
    changed = [*lever.get("both", []), *lever.get("train", [])]
    told_all = [*stage, *cfg.published, *cfg.always, *changed, *seen(cfg)]
    return once(folder, "train", *told_all, f"seed={seed}", "resume=auto")


def once(folder: Path, script: str, *overrides: str) -> Cost:
    """Run a script into a folder, unless it did already; what it took."""
    done = folder / "cost.json"
    if not done.exists():
        cost = call(script, *overrides, f"hydra.run.dir={folder}")
        write_json(done, cost._asdict())
    return Cost(**json.loads(done.read_bytes()))


if __name__ == "__main__":
    told(main)
