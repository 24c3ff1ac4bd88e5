"""Judge variants of accuracy one by one: tagpose ablate [key=value of conf/ablate.yaml]."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from tagpose.cli.program import program
from tagpose.cli.subprograms import ProcessUsage, run_subprogram
from tagpose.evaluation.coco_results import write_json
from tagpose.evaluation.score_tables import VariantResult, ablation_table
from tagpose.io import atomic_write

_TOGETHER: Final = "all together"


@program("ablate")
def main(cfg: DictConfig) -> None:
    """Train and score what is not there yet, and print the table after each."""
    if not Path(cfg.root).exists():
        sizes = [
            f"train={cfg.num_train_images}",
            f"val={cfg.num_val_images}",
            f"image_size={cfg.image_size}",
        ]
        run_subprogram("data synthesize", f"root={cfg.root}", "sparse=true", "max_people=6", *sizes)
    variants = with_all(OmegaConf.to_container(cfg.variants, resolve=True), list(cfg.combined))
    oracle = {name: variant for name, variant in variants.items() if variant.get("oracle")}
    show(cfg, "oracle.md", (oracle_trial(cfg, oracle, name) for name in oracle))
    each = ((seed, name) for seed in cfg.seeds for name in variants)
    show(cfg, "table.md", (trial(cfg, variants, name, seed) for seed, name in each))


def show(cfg: DictConfig, name: str, trials: Iterable[VariantResult]) -> None:
    """Print and write the table of what is there, after each trial."""
    done: list[VariantResult] = []
    for one in trials:
        done.append(one)
        lines = ablation_table(done)
        with atomic_write(Path(cfg.run) / name) as partial:
            partial.write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)


def with_all(variants: Any, combined: list[str]) -> dict[str, dict[str, Any]]:
    """The variants, and at the end those together that are to be the recipe."""
    unknown = [name for name in combined if name not in variants]
    if unknown:
        raise ValueError(f"combined has {unknown[0]!r}, which is none of the variants")
    chosen = [variants[name] for name in combined]
    every = {
        key: [o for one in chosen for o in one.get(key, [])]
        for key in ("both_stages", "train", "test")
    }
    flags = {key: any(one.get(key) for one in chosen) for key in ("per_part_scores", "oracle")}
    return variants | {_TOGETHER: every | flags}


def trial(
    cfg: DictConfig, variants: dict[str, dict[str, Any]], name: str, seed: int
) -> VariantResult:
    """What a variant brings with a seed, from the disk where it is there."""
    run, variant = Path(cfg.run) / f"seed{seed}", variants[name]
    trained_as = first_alike(variants, name, ["both_stages", "train"])
    own = run / folder_of(trained_as)
    stage_one = start(cfg, run, seed, variant)
    learned = trained(cfg, own, [*cfg.finetune_overrides, f"init_from={stage_one}"], variant, seed)
    place = run / "tests" / folder_of(first_alike(variants, name, ["both_stages", "train", "test"]))
    scored = (f"checkpoint={own}/best.ckpt", "data=synthetic", f"data.root={cfg.root}")
    tested = once(place, "evaluate", *scored, *cfg.evaluate_overrides, *variant.get("test", []))
    trains = name == trained_as
    return VariantResult(
        variant=name,
        seed=seed,
        ap=ap_of(place, "per_part_scores" if variant.get("per_part_scores") else "parts"),
        train_seconds=learned.seconds if trains else 0.0,
        test_seconds=tested.seconds,
        memory=max(learned.memory, tested.memory) if trains else tested.memory,
    )


def first_alike(variants: dict[str, dict[str, Any]], name: str, keys: list[str]) -> str:
    """The first variant that says the same as one under some keys; they share what came of it."""
    said = {each: [one.get(key, []) for key in keys] for each, one in variants.items()}
    return next(each for each in variants if said[each] == said[name])


def oracle_trial(cfg: DictConfig, variants: dict[str, dict[str, Any]], name: str) -> VariantResult:
    """What a variant brings on perfect maps, which know no seed."""
    variant = variants[name]
    alike = first_alike(variants, name, ["both_stages", "train", "test"])
    place = Path(cfg.run) / "oracle" / folder_of(alike)
    changed = [o for key in ("both_stages", "train", "test") for o in variant.get(key, [])]
    cost = once(place, "oracle", "data=synthetic", *cfg.baseline_overrides, *changed, *seen(cfg))
    return VariantResult(
        variant=name,
        seed=0,
        ap=ap_of(place, "parts"),
        train_seconds=0.0,
        test_seconds=cost.seconds,
        memory=cost.memory,
    )


def folder_of(variant: str) -> str:
    """What the folder of a variant is called."""
    return variant.replace(" ", "_")


def ap_of(place: Path, table: str) -> dict[str, float]:
    """AP of each part, of a table that was written to a folder."""
    parts = json.loads((place / "metrics.json").read_bytes())[table]
    return {part: numbers["ap"] for part, numbers in parts.items()}


def seen(cfg: DictConfig) -> list[str]:
    """Overrides that say what is looked at, and how large."""
    return [f"data.root={cfg.root}", f"input_size={cfg.input_size}"]


def start(cfg: DictConfig, run: Path, seed: int, variant: dict[str, Any]) -> Path:
    """Train stage one with a seed and what a variant changes in both stages."""
    folder = run / "_".join(["first", *map(folder_of, variant.get("both_stages", []))])
    trained(
        cfg,
        folder,
        list(cfg.pretrain_overrides),
        {"both_stages": variant.get("both_stages", [])},
        seed,
    )
    return folder / "best.ckpt"


def trained(
    cfg: DictConfig, folder: Path, stage: list[str], variant: dict[str, Any], seed: int
) -> ProcessUsage:
    """Train, or go on with a training that was stopped."""
    changed = [*variant.get("both_stages", []), *variant.get("train", [])]
    told_all = [*stage, *cfg.baseline_overrides, *cfg.train_overrides, *changed, *seen(cfg)]
    return once(folder, "train", *told_all, f"seed={seed}", "resume=auto")


def once(folder: Path, script: str, *overrides: str) -> ProcessUsage:
    """Run a script into a folder, unless it did already; what it took."""
    done = folder / "cost.json"
    if not done.exists():
        cost = run_subprogram(script, *overrides, f"hydra.run.dir={folder}")
        write_json(done, cost._asdict())
    return ProcessUsage(**json.loads(done.read_bytes()))
