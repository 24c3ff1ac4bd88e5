"""Ablation plans and tables, and the loss of encoding, which oracle maps measure."""

import json
import re

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.cli.ablate import add_combined, plan_steps
from tagpose.cli.ablation_table import VariantResult, ablation_table
from tagpose.cli.subprograms import check_steps
from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.data.annotations import read_annotations
from tagpose.data.datasets import ValDataset
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.inference.oracle import decode_oracle_maps
from tagpose.skeletons.coco import WHOLEBODY


def make_result(variant, seed, ap, **costs):
    costs = {"train_seconds": 60.0, "test_seconds": 5.0, "memory": 2e9} | costs
    return VariantResult(variant, seed, {"body": ap, "wholebody": ap / 2}, **costs)


def test_variants_are_compared_with_the_baseline_seed_by_seed():
    results = [make_result("classic", 0, 0.4), make_result("classic", 1, 0.6)]
    results += [
        make_result("other", 0, 0.5),
        make_result("other", 1, 0.6),
        make_result("other", 2, 0.9),
    ]
    head, _, first, other = ablation_table(results)
    assert head.startswith("| variant | seeds | body | whole |")
    assert first == "| classic | 2 | 0.500 | 0.250 | 1.0 min | 5 s | 2.0 GB |"
    assert other.startswith("| other | 2 | +0.050 ± 0.071 | +0.025 ± 0.035 |")


def test_an_untrained_variant_has_no_training_time():
    lines = ablation_table(
        [make_result("classic", 0, 0.4), make_result("test", 0, 0.5, train_seconds=0.0)]
    )
    assert lines[-1] == "| test | 1 | +0.100 | +0.050 |  | 5 s | 2.0 GB |"


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "conf/ablation").iterdir()))
def test_all_steps_of_an_ablation_have_valid_options_and_simple_folder_names(name):
    folder = "runs/Rome,2024"  # two values without quotes
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        options = [f"ablation={name}", f"run='{folder}'", f"root='{folder}/data'"]
        cfg = compose("ablate", options, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        variants = add_combined(
            OmegaConf.to_container(cfg.variants, resolve=True), list(cfg.combined)
        )
        steps = set(plan_steps(cfg, variants))
        check_steps(steps)
    assert all(re.fullmatch(r"[\w./=+-]+", str(step.folder.relative_to(folder))) for step in steps)


def test_variants_with_the_same_folder_name_are_rejected():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("ablate", ["run=runs/a", "root=data/a"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        variants = {"a b": {"train": ["data.transforms.color.p=0.5"]}, "a, b": {}}
        with pytest.raises(ValueError, match="seed0/a_b would be the folder of two runs"):
            check_steps(plan_steps(cfg, variants))


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A dataset whose training annotations lack labels of some parts."""
    root = tmp_path_factory.mktemp("sparse") / "people"
    write_synthetic_dataset(
        root, train=24, val=12, image_size=160, max_people=6, sparse=True, processes=1
    )
    return root


def labeled_fractions(root, split):
    """Return the fraction of people with labels, by part."""
    file = root / "annotations" / f"coco_wholebody_{split}_v1.0.json"
    people = json.loads(file.read_bytes())["annotations"]
    parts = "foot", "face", "lefthand"
    return {part: np.mean([person[f"{part}_valid"] for person in people]) for part in parts}


def test_a_sparse_training_set_has_fewer_labels_than_the_validation_set(sparse):
    train, val = labeled_fractions(sparse, "train"), labeled_fractions(sparse, "val")
    assert all(train[part] < 0.8 * val[part] for part in train)


def test_subpixel_oracle_maps_lose_less_than_integer_ones_especially_on_faces(sparse):
    file = sparse / "annotations/coco_wholebody_val_v1.0.json"
    dataset = ValDataset(read_annotations(file, sparse / "val2017", WHOLEBODY), 128)
    ground_truth = read_ground_truth(file, WHOLEBODY)
    integer, subpixel = (
        evaluate_parts(
            ground_truth,
            decode_oracle_maps(
                DataLoader(dataset),
                [HeatmapEncoder(subpixel=is_subpixel)],
                build_decoder(WHOLEBODY, subpixel=is_subpixel, max_people=None),
            ),
            WHOLEBODY,
        )
        for is_subpixel in (False, True)
    )
    assert subpixel["face"].ap > integer["face"].ap + 0.1
    assert all(subpixel[part].ap >= integer[part].ap for part in integer)


@pytest.mark.slow
def test_an_ablation_resumes_after_its_finished_runs(sparse, tmp_path):
    overrides = [
        f"run={tmp_path}/ablate",
        f"root={sparse}",
        "seeds=[0]",
        "input_size=64",
        'train_overrides=["trainer.max_epochs=1","trainer.check_val_every_n_epoch=1","logger=csv"]',
        "~variants",
        '+variants={classic: {}, finer: {train: ["model=${higherhrnet_model}"], oracle: true}}',
        "combined=[finer]",
        "isolate_errors=true",
    ]
    first = succeeded(run("ablate", *overrides, cwd=tmp_path))
    table = (tmp_path / "ablate/table.md").read_text()
    rows = ["classic", "finer", "all together"]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == rows
    for name in ("predicted_tags", "predicted_heatmaps", "swaps"):
        lines = (tmp_path / f"ablate/{name}.md").read_text().splitlines()[4:]
        assert [line.split("|")[1].strip() for line in lines] == rows
    again = succeeded(run("ablate", *overrides, cwd=tmp_path))
    # stage one, classic and finer, which "all together" reuses
    assert first.stdout.count("$ tagpose train") == 3
    # finer without training, and both trained networks with ground-truth heatmaps and tags
    assert first.stdout.count("$ tagpose oracle") == 1 + 2 * 2
    assert first.stdout.count("$ tagpose report") == 2
    assert "$ tagpose" in first.stdout
    assert "$ tagpose" not in again.stdout
    assert (tmp_path / "ablate/table.md").read_text() == table
