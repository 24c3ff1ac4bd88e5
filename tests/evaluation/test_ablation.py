"""What variants bring is told seed by seed, and what encoding costs is told on perfect maps."""

import json

import numpy as np
import pytest
from torch.utils.data import DataLoader

from helpers.run_scripts import run, succeeded
from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.data.annotations import read_annotations
from tagpose.data.datasets import ValDataset
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.evaluation.score_tables import VariantResult, ablation_table
from tagpose.inference.oracle import decode_oracle_maps
from tagpose.skeletons.coco import WHOLEBODY


def trial(variant, seed, ap, **costs):
    spent = {"train_seconds": 60.0, "test_seconds": 5.0, "memory": 2e9} | costs
    return VariantResult(variant, seed, {"body": ap, "wholebody": ap / 2}, **spent)


def test_a_lever_is_compared_with_the_first_one_seed_by_seed():
    trials = [trial("classic", 0, 0.4), trial("classic", 1, 0.6)]
    trials += [trial("other", 0, 0.5), trial("other", 1, 0.6), trial("other", 2, 0.9)]
    head, _, first, other = ablation_table(trials)
    assert head.startswith("| variant | seeds | body | whole |")
    assert first == "| classic | 2 | 0.500 | 0.250 | 1.0 min | 5 s | 2.0 GB |"
    assert other.startswith("| other | 2 | +0.050 ± 0.071 | +0.025 ± 0.035 |")


def test_a_lever_without_a_training_of_its_own_costs_none():
    lines = ablation_table([trial("classic", 0, 0.4), trial("test", 0, 0.5, train_seconds=0.0)])
    assert lines[-1] == "| test | 1 | +0.100 | +0.050 |  | 5 s | 2.0 GB |"


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    root = tmp_path_factory.mktemp("sparse") / "people"
    write_synthetic_dataset(root, train=24, val=12, image_size=160, max_people=6, sparse=True, processes=1)
    return root


def shares(root, split):
    """Which share of the people has labels of a part."""
    file = root / "annotations" / f"coco_wholebody_{split}_v1.0.json"
    rows = json.loads(file.read_bytes())["annotations"]
    return {p: np.mean([row[f"{p}_valid"] for row in rows]) for p in ("foot", "face", "lefthand")}


def test_what_is_learned_from_lacks_labels_that_what_is_judged_by_has(sparse):
    learned, judged = shares(sparse, "train"), shares(sparse, "val")
    assert all(learned[part] < 0.8 * judged[part] for part in learned)


def test_perfect_maps_between_cells_lose_nothing_and_on_cells_they_lose_most_of_small_faces(sparse):
    file = sparse / "annotations/coco_wholebody_val_v1.0.json"
    images = ValDataset(read_annotations(file, sparse / "val2017", WHOLEBODY), 128)
    ground_truth = read_ground_truth(file, WHOLEBODY)
    on, between = (
        evaluate_parts(
            ground_truth,
            decode_oracle_maps(
                DataLoader(images),
                [HeatmapEncoder(subpixel=subpixel)],
                build_decoder(WHOLEBODY, subpixel=subpixel, max_people=None),
            ),
            WHOLEBODY,
        )
        for subpixel in (False, True)
    )
    assert between["face"].ap > on["face"].ap + 0.1
    assert all(between[part].ap >= on[part].ap for part in on)


@pytest.mark.slow
def test_an_ablation_goes_on_where_it_stopped(sparse, tmp_path):
    words = [
        f"run={tmp_path}/ablate",
        f"root={sparse}",
        "seeds=[0]",
        "input_size=64",
        'train_overrides=["trainer.max_epochs=1","trainer.check_val_every_n_epoch=1","logger=csv"]',
        "~variants",
        '+variants={classic: {}, finer: {train: ["model=${higherhrnet_model}"], oracle: true}}',
        "combined=[finer]",
    ]
    first = succeeded(run("ablate", *words, cwd=tmp_path))
    table = (tmp_path / "ablate/table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [
        "classic", "finer", "all together",
    ]  # fmt: skip
    again = succeeded(run("ablate", *words, cwd=tmp_path))
    # stage one, classic and finer, which all together shares
    assert first.stdout.count("$ tagpose train") == 3
    assert first.stdout.count("$ tagpose oracle") == 1
    assert "$ tagpose" in first.stdout
    assert "$ tagpose" not in again.stdout
    assert (tmp_path / "ablate/table.md").read_text() == table
