"""A skeleton drafted from a COCO file matches its annotations, or is refused."""

import json
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from helpers.annotation_exports import NAMES, coco, cvat, write_coco
from helpers.run_scripts import ROOT, command
from tagpose.data.annotation_tools.config_writer import format_data_yaml, format_skeleton_yaml
from tagpose.data.annotation_tools.skeleton_draft import (
    draft_skeleton,
    official_skeleton,
    read_bones,
    to_identifier,
)
from tagpose.data.split_paths import SplitPaths
from tagpose.skeletons.coco import BODY

FILE = Path("foxes.json")


def parse_skeleton(text):
    """Instantiate the skeleton of a YAML text, as the programs do."""
    return instantiate(OmegaConf.create(text))


def draft(names, flips=None, **category):
    row = {"name": "fox", "keypoints": names, "skeleton": []} | category
    return draft_skeleton(row, None, flips, FILE)


@pytest.mark.parametrize(
    ("entries", "first", "pairs", "skipped"),
    [
        ([[1, 2], [1, 3]], 1, ["ab", "ac"], ()),
        ([[0, 1], [0, 2]], 0, ["ab", "ac"], ()),
        ([[1, 2]], 1, ["ab"], ()),  # both are valid, and COCO counts from 1
        ([[0, 1], [1, 2], [2, 3]], 1, ["ab", "bc"], ("[0, 1]",)),
        ([[0, 1], [0, 2], [1, 9]], 0, ["ab", "ac"], ("[1, 9]",)),
        (
            [[1, 2], [2, 1], [1, 1], [1], "12", [1, 2.5]],
            1,
            ["ab"],
            ("[1, 1]", "[1]", "12", "[1, 2.5]"),
        ),
        (None, 1, [], ()),
    ],
)
def test_bone_indices_start_where_most_are_valid_and_invalid_bones_are_listed(
    entries, first, pairs, skipped
):
    bones = read_bones(entries, "abc")
    assert (bones.first, bones.pairs, bones.skipped) == (first, tuple(map(tuple, pairs)), skipped)


NAMES_WITHOUT_SIDE = st.text(min_size=1).filter(lambda text: not set("lr$") & set(text.lower()))


@settings(max_examples=30)
@given(st.lists(NAMES_WITHOUT_SIDE, min_size=1, max_size=5, unique=True))
def test_any_name_is_preserved_by_the_yaml(names):
    assert parse_skeleton(format_skeleton_yaml(draft(names), "foxes.json")).keypoints == tuple(
        names
    )


def test_names_that_look_like_other_yaml_types_stay_text():
    plain = ["1", "010", "1e3", "yes", "null", "~", "on", "12:30", "a: b", "# a", " ", '"', "é"]
    names = [*plain, "$", "\\", "\x85", "\ufeff"]
    assert parse_skeleton(format_skeleton_yaml(draft(names), "foxes.json")).keypoints == tuple(
        names
    )


def test_no_name_adds_an_entry_to_the_yaml():
    hostile = 'x"\n_target_: os.getcwd\n#'
    skeleton = draft_skeleton({"name": hostile, "keypoints": [hostile]}, None, None, FILE)
    config = OmegaConf.create(format_skeleton_yaml(skeleton, hostile))
    assert config._target_ == "tagpose.skeletons.custom.make_custom_skeleton"
    assert config.keypoints == [hostile]


def test_a_draft_lists_default_sigmas_and_pairs_left_with_right():
    text = format_skeleton_yaml(
        draft(["Nose", "Left Eye", "Right Eye", "tail"], skeleton=[[1, 2]]), "x.json"
    )
    skeleton = parse_skeleton(text)
    assert skeleton.flip_indices == (0, 2, 1, 3)
    assert skeleton.bones == ((0, 1),)
    assert skeleton.sigmas == (0.026, 0.025, 0.025, 0.05)
    assert (
        "# Defaults, not measured on this data: 0.05 for 1 keypoint, those of COCO for 3 with the"
        in text
    )


def test_flip_pairs_come_from_the_user_or_yolo_or_the_names():
    names = ["nose", "left_ear", "right_ear"]
    assert draft(names).flips == (("left_ear", "right_ear"),)
    assert draft(names, flips=[]).flips == ()
    assert draft(["a", "b", "c"], flip_idx=[2, 1, 0]).flips == (("a", "c"),)
    assert draft(["nose", "left_ear"], flips=[]).flips == ()
    with pytest.raises(
        ValueError, match=r"foxes\.json: no left/right partner of 'left_ear'.* flip_pairs="
    ):
        draft(["nose", "left_ear"])
    with pytest.raises(ValueError, match="flip_pairs contains"):
        draft(names, flips=[["left_ear", "paw"]])


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""], ["${a}"]])
def test_names_that_are_not_unique_or_not_writable_are_refused(names):
    with pytest.raises(ValueError, match=r"are not unique|name contains \$\{"):
        draft(names)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("Red Fox", "red_fox"), ("yes", "my_yes"), ("1", "my_1"), ("../x", "x"), ("狐", "my_")],
)
def test_identifiers_are_safe_in_file_names_and_options(name, identifier):
    assert to_identifier(name) == identifier


def test_the_official_skeletons_are_recognized():
    assert official_skeleton(BODY.keypoints, [{}]) == "body"
    assert official_skeleton(BODY.keypoints, [{"lefthand_kpts": []}]) == "wholebody"
    assert official_skeleton(NAMES, []) is None


def test_data_paths_are_relative_to_the_root_and_links_are_not_resolved(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "far")
    split = SplitPaths(tmp_path / "set/train.json", tmp_path / "set/images")
    other = SplitPaths(tmp_path / "set/val.json", tmp_path / "far")
    config = OmegaConf.create(format_data_yaml(split, other, "train.json"))
    assert (config.root, config.train) == (str(tmp_path / "set"), ["train.json", "images"])
    assert config.val == ["val.json", str(tmp_path / "far")]
    assert OmegaConf.create(format_data_yaml(split, None, "train.json")).val is None


def run_script(script, *overrides, cwd):
    return subprocess.run(
        command(script, *overrides), cwd=cwd, capture_output=True, text=True, check=False
    )


def test_two_commands_prepare_an_export_for_training(tmp_path):
    cvat(tmp_path)
    assert (
        run_script("data_split", "source=task_1.zip", "output=foxes", cwd=tmp_path).returncode == 0
    )
    result = run_script(
        "data_skeleton", "annotations=foxes/train.json", "config_dir=conf", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "flip pairs: left_ear/right_ear" in result.stdout
    command = "tagpose train experiment=pretrain skeleton=fox data=fox --config-dir=conf"
    options = "trainer.accumulate_grad_batches=8  # 192 images a step"
    assert f"      {command} {options}\n" in result.stdout
    overrides = ["experiment=pretrain", "skeleton=fox", "data=fox"]
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [*overrides, search])
        data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    assert data.skeleton.keypoints == tuple(NAMES)
    assert (data.train_split.images, data.val_split.images) == ("images", "images")
    assert [len(data.annotations[split]) for split in (data.train_split, data.val_split)] == [7, 1]
    with Image.open(tmp_path / "runs/skeleton/fox.png") as image:
        assert image.size[1] > 3 * 640  # three examples below each other


def test_existing_files_are_not_overwritten_and_missing_data_is_reported(tmp_path):
    write_coco(tmp_path, ["1.png", "2.png"])
    overrides = ("annotations=foxes.json", "config_dir=conf")
    first = run_script("data_skeleton", *overrides, cwd=tmp_path)
    assert "next: tagpose data split source=foxes.json" in first.stdout
    data = tmp_path / "conf/data/fox.yaml"
    assert "val: null" in data.read_text()
    (tmp_path / "val.json").write_text((tmp_path / "foxes.json").read_text())
    again = run_script(
        "data_skeleton", *overrides, "val_annotations=val.json", cwd=tmp_path
    )  # it was incomplete
    assert (again.returncode, "val: null" in data.read_text()) == (0, False)
    data.write_text(data.read_text() + "batch_size: 4\n")
    refused = run_script("data_skeleton", *overrides, "val_annotations=val.json", cwd=tmp_path)
    assert refused.returncode == 1
    assert "error: conf/data/fox.yaml exists and differs" in refused.stderr
    unnamed = coco(["1.png", "2.png"], categories=[])
    (tmp_path / "foxes.json").write_text(json.dumps(unnamed))
    refused = run_script("data_skeleton", *overrides, cwd=tmp_path)
    assert "no category lists the names of its keypoints" in refused.stderr
