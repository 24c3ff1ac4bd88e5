"""Evaluate variants of the recipe one by one: tagpose ablate [KEY=VALUE ...]."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from omegaconf import DictConfig, OmegaConf

from tagpose.cli.ablation_table import VariantResult, ablation_table
from tagpose.cli.program import program
from tagpose.cli.report import ERRORS_FILE
from tagpose.cli.subprograms import Step, check_steps, run_once, run_subprogram, synthesis_step
from tagpose.evaluation.coco_results import RESULTS_FILE
from tagpose.evaluation.keypoint_ap import read_scores
from tagpose.io import atomic_write

Variant: TypeAlias = dict[str, Any]  # a value of `variants` in conf/ablation

_COMBINED: Final = "all together"
_TRAIN_KEYS: Final = ("both_stages", "train")
_OVERRIDE_KEYS: Final = (*_TRAIN_KEYS, "test")
# Tables of `isolate_errors`: the files, without suffix, and their headings.
_ERROR_TABLES: Final = {
    "predicted_tags": "AP of predicted tags and ground-truth heatmaps",
    "predicted_heatmaps": "AP of predicted heatmaps and ground-truth tags",
    "swaps": "Share of matched people's labeled keypoints predicted on another person",
}


@program("ablate")
def main(cfg: DictConfig) -> None:
    """Train and evaluate the variants that are not done, and print the table after each."""
    variants = add_combined(OmegaConf.to_container(cfg.variants, resolve=True), list(cfg.combined))
    synthesis = synthesis_step(cfg.root, cfg.synthesize)
    check_steps([synthesis, *plan_steps(cfg, variants)])
    if not synthesis.folder.exists():
        run_subprogram(synthesis)
    oracle = {name: variant for name, variant in variants.items() if variant.get("oracle")}
    results = (run_test(oracle_step(cfg, oracle, name), name) for name in oracle)
    write_table(cfg, "oracle.md", results)
    pairs = [(seed, name) for seed in cfg.seeds for name in variants]
    results = (evaluate_variant(cfg, variants, name, seed) for seed, name in pairs)
    write_table(cfg, "table.md", results)
    for table, title in _ERROR_TABLES.items() if cfg.isolate_errors else ():
        results = (
            run_test(error_step(cfg, variants, name, seed, table), name, seed)
            for seed, name in pairs
        )
        write_table(cfg, f"{table}.md", results, title)


def write_table(
    cfg: DictConfig, name: str, results: Iterable[VariantResult], title: str = ""
) -> None:
    """Print and write the table of the results so far, after each result."""
    done: list[VariantResult] = []
    heading = [title, ""] if title else []
    for result in results:
        done.append(result)
        lines = heading + ablation_table(done)
        with atomic_write(Path(cfg.run) / name) as partial:
            partial.write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)


def add_combined(variants: Any, combined: list[str]) -> dict[str, Variant]:
    """Return the variants, followed by the combination of the named ones if there are any."""
    unknown = [name for name in combined if name not in variants]
    if unknown:
        raise ValueError(f"unknown variant {unknown[0]!r} in combined; use names of variants")
    if not combined:
        return variants
    chosen = [variants[name] for name in combined]
    overrides = {
        key: [override for variant in chosen for override in variant.get(key, [])]
        for key in _OVERRIDE_KEYS
    }
    flags = {
        key: any(variant.get(key) for variant in chosen) for key in ("per_part_scores", "oracle")
    }
    return variants | {_COMBINED: overrides | flags}


def plan_steps(cfg: DictConfig, variants: dict[str, Variant]) -> Iterator[Step]:
    """Yield the steps of all variants with the first seed, which has the options of all seeds."""
    for name, variant in variants.items():
        if variant.get("oracle"):
            yield oracle_step(cfg, variants, name)
        yield pretraining_step(cfg, cfg.seeds[0], variant)
        yield finetuning_step(cfg, variants, name, cfg.seeds[0])
        yield evaluation_step(cfg, variants, name, cfg.seeds[0])
        if cfg.isolate_errors:
            for table in _ERROR_TABLES:
                yield error_step(cfg, variants, name, cfg.seeds[0], table)


def evaluate_variant(
    cfg: DictConfig, variants: dict[str, Variant], name: str, seed: int
) -> VariantResult:
    """Train and evaluate a variant with a seed, or read its result if it is done."""
    run_once(pretraining_step(cfg, seed, variants[name]))
    training = run_once(finetuning_step(cfg, variants, name, seed))
    step = evaluation_step(cfg, variants, name, seed)
    evaluation = run_once(step)
    scores = "per_part_scores" if variants[name].get("per_part_scores") else "parts"
    is_own = name == trained_as(variants, name)  # the cost of a shared training counts once
    return VariantResult(
        variant=name,
        seed=seed,
        values=read_ap(step.folder, scores),
        train_seconds=training.seconds if is_own else 0.0,
        test_seconds=evaluation.seconds,
        memory=max(training.memory, evaluation.memory) if is_own else evaluation.memory,
    )


def run_test(step: Step, name: str, seed: int = 0) -> VariantResult:
    """Run a test of a variant that trains nothing, or read its result if it is done."""
    usage = run_once(step)
    return VariantResult(
        variant=name,
        seed=seed,
        values=read_swaps(step.folder) if step.verb == "report" else read_ap(step.folder, "parts"),
        train_seconds=0.0,
        test_seconds=usage.seconds,
        memory=usage.memory,
    )


def oracle_step(cfg: DictConfig, variants: dict[str, Variant], name: str) -> Step:
    """Return the step that evaluates a variant on encoded ground truth."""
    folder = Path(cfg.run) / "oracle" / folder_name(first_equal(variants, name, _OVERRIDE_KEYS))
    changes = [override for key in _TRAIN_KEYS for override in variants[name].get(key, [])]
    encoding = (*cfg.baseline_overrides, *changes)
    decoding = decoder_overrides(cfg, variants[name])
    return decode_step(cfg, folder, (*encoding, *decoding))


def decode_step(cfg: DictConfig, folder: Path, overrides: Iterable[str]) -> Step:
    """Return the step that decodes maps, some of which are encoded ground truth."""
    options = ("data=synthetic", *overrides, *data_overrides(cfg), f"hydra.run.dir={folder}")
    return Step(folder, "oracle", options)


def pretraining_step(cfg: DictConfig, seed: int, variant: Variant) -> Step:
    """Return the step that trains stage one with the changes of a variant in both stages."""
    changes = variant.get("both_stages", [])
    folder = seed_folder(cfg, seed) / "_".join(["first", *map(folder_name, changes)])
    return training_step(cfg, folder, cfg.pretrain_overrides, changes, seed)


def finetuning_step(cfg: DictConfig, variants: dict[str, Variant], name: str, seed: int) -> Step:
    """Return the step that trains stage two of a variant, or of an earlier one that is equal."""
    variant = variants[name]
    folder = seed_folder(cfg, seed) / folder_name(trained_as(variants, name))
    weights = pretraining_step(cfg, seed, variant).folder / "best.ckpt"
    changes = [override for key in _TRAIN_KEYS for override in variant.get(key, [])]
    return training_step(
        cfg, folder, [*cfg.finetune_overrides, f"init_from={weights}"], changes, seed
    )


def training_step(
    cfg: DictConfig, folder: Path, stage: Iterable[str], changes: Iterable[str], seed: int
) -> Step:
    """Return the step that starts or resumes a training."""
    overrides = (*stage, *cfg.baseline_overrides, *cfg.train_overrides, *changes)
    run = (f"seed={seed}", "resume=auto", f"hydra.run.dir={folder}")
    return Step(folder, "train", (*overrides, *data_overrides(cfg), *run))


def evaluation_step(cfg: DictConfig, variants: dict[str, Variant], name: str, seed: int) -> Step:
    """Return the step that evaluates a variant."""
    tests = seed_folder(cfg, seed) / "tests"
    folder = tests / folder_name(first_equal(variants, name, _OVERRIDE_KEYS))
    checkpoint = finetuning_step(cfg, variants, name, seed).folder / "best.ckpt"
    data = (f"checkpoint={checkpoint}", "data=synthetic", f"data.root={cfg.root}")
    changes = evaluation_overrides(cfg, variants[name])
    return Step(folder, "evaluate", (*data, *changes, f"hydra.run.dir={folder}"))


def error_step(
    cfg: DictConfig, variants: dict[str, Variant], name: str, seed: int, table: str
) -> Step:
    """Return the step of a result in one of the tables of `isolate_errors`."""
    tests = evaluation_step(cfg, variants, name, seed).folder
    if table == "swaps":
        folder = tests / "report"
        files = (f"results={tests / RESULTS_FILE}", f"ground_truth={cfg.ground_truth}")
        return Step(folder, "report", (*files, f"output={folder}"))
    checkpoint = finetuning_step(cfg, variants, name, seed).folder / "best.ckpt"
    network = (f"checkpoint={checkpoint}", f"network_maps=[{table.removeprefix('predicted_')}]")
    return decode_step(cfg, tests / table, (*network, *decoder_overrides(cfg, variants[name])))


def evaluation_overrides(cfg: DictConfig, variant: Variant) -> list[str]:
    """Return the overrides of a variant's evaluation."""
    return [*cfg.evaluate_overrides, *variant.get("test", [])]


def decoder_overrides(cfg: DictConfig, variant: Variant) -> list[str]:
    """Return the overrides of a variant's evaluation that change the decoder."""
    overrides = evaluation_overrides(cfg, variant)
    return [override for override in overrides if override.startswith("predictor.decoder.")]


def trained_as(variants: dict[str, Variant], name: str) -> str:
    """Return the first variant with the training of another."""
    return first_equal(variants, name, _TRAIN_KEYS)


def seed_folder(cfg: DictConfig, seed: int) -> Path:
    """Return the folder of the runs with a seed."""
    return Path(cfg.run) / f"seed{seed}"


def first_equal(variants: dict[str, Variant], name: str, keys: Sequence[str]) -> str:
    """Return the first variant with the same values for some keys; equal variants share results."""
    values = {n: [variant.get(key, []) for key in keys] for n, variant in variants.items()}
    return next(n for n in variants if values[n] == values[name])


def folder_name(variant: str) -> str:
    """Return the folder name of a variant or override, with `_` for slashes and other symbols."""
    return re.sub(r"[^\w.=+-]+", "_", variant)


def read_ap(folder: Path, table: str) -> dict[str, float]:
    """Return the AP of each part from a table of metrics.json."""
    scores = read_scores(folder / "metrics.json", table)
    return {part: result.ap for part, result in scores.items()}


def read_swaps(folder: Path) -> dict[str, float]:
    """Return the share of swapped keypoints of each part from the errors of a report."""
    (parts,) = json.loads((folder / ERRORS_FILE).read_bytes()).values()
    return {part: counts["swap"] / max(sum(counts.values()), 1) for part, counts in parts.items()}


def data_overrides(cfg: DictConfig) -> list[str]:
    """Return the overrides of the dataset and the input size."""
    return [f"data.root={cfg.root}", f"input_size={cfg.input_size}"]
