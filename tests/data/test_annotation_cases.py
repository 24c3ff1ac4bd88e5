"""Exports of annotation tools are read, repaired, skipped or rejected as documented."""

import gzip
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf
from PIL import Image

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.cli.errors import format_error
from tagpose.data.annotations import check_labeled, read_annotations
from tagpose.data.coco_schema import ReadOptions
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.datasets import ValDataset
from tagpose.data.issues import IssueLog, Severity
from tagpose.data.issues import IssueType as T
from tagpose.data.quality.inspection import inspect_dataset
from tagpose.data.quality.shared_images import log_shared_images
from tagpose.data.split_paths import parse_splits
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.skeletons.custom import make_custom_skeleton

CASES = Path(__file__).parents[1] / "cases"
ANIMAL = make_custom_skeleton("animal", ["nose", "left_ear", "right_ear"], [0.05] * 3)
WARNS = (Severity.SKIPPED, Severity.REPAIRED, Severity.WARNING)
EVALUATION_ONLY = (T.AREA_MISSING, T.AREA_IMPLAUSIBLE)
TRAINING_ONLY = (T.FILE_ELSEWHERE, T.SIZE_MISSING)

# case -> issue types that an inspection lists, and number of people to train on (0 for an error).
# The file of each case has two people, except that of no_annotations.
OUTCOMES = {
    "annotation_id_zero_score": ({T.ANNOTATION_ID_ZERO}, 2),
    "annotation_ids_repeated": ({T.ANNOTATION_ID_REUSED}, 2),
    "annotation_rows_repeated": ({T.ANNOTATION_REPEATED}, 2),
    "area_copied": ({T.AREA_IMPLAUSIBLE}, 2),
    "area_missing": ({T.AREA_MISSING}, 2),
    "area_null": ({T.AREA_MISSING}, 2),
    "bbox_and_area_missing": ({T.BOX_MISSING, T.AREA_MISSING}, 2),
    "bbox_missing": ({T.BOX_MISSING}, 2),
    "bbox_nested": ({T.NESTED}, 2),
    "bbox_null": ({T.BOX_MISSING}, 2),
    "categories_skeleton_from_0": (set(), 2),
    "category_unknown": ({T.CATEGORY_UNKNOWN}, 2),
    "coordinates_normalized": ({T.NORMALIZED}, 0),
    "file_missing": ({T.FILE_MISSING}, 0),
    "file_missing_unannotated": ({T.FILE_MISSING}, 2),
    "file_name_absolute": ({T.FILE_ELSEWHERE}, 2),
    "file_name_folder": ({T.FILE_ELSEWHERE}, 2),
    "id_missing": (set(), 2),
    "id_zero": ({T.ANNOTATION_ID_ZERO}, 2),
    "image_id_missing": ({T.IMAGE_ID_OF_ANNOTATION}, 0),
    "image_id_string_everywhere": (set(), 2),
    "image_id_text": (set(), 2),
    "image_rows_repeated": ({T.IMAGE_REPEATED}, 2),
    "iscrowd_bool": (set(), 2),
    "iscrowd_missing": ({T.CROWD_MISSING}, 2),
    "iscrowd_null": ({T.CROWD_MISSING}, 2),
    "keypoint_negative_unlabeled": (set(), 2),
    "keypoint_on_edge": (set(), 2),
    "keypoint_outside": ({T.OUTSIDE}, 2),
    "keypoints_empty": ({T.NO_KEYPOINTS}, 1),
    "keypoints_missing": ({T.NO_KEYPOINTS}, 1),
    "keypoints_nested": ({T.NESTED}, 2),
    "keypoints_nested_without_v": ({T.KEYPOINT_COUNT}, 0),
    "keypoints_null": ({T.NO_KEYPOINTS}, 1),
    "keypoints_text": ({T.TEXT}, 2),
    "keypoints_without_v": ({T.KEYPOINT_COUNT}, 0),
    "names_other_order": ({T.KEYPOINT_ORDER}, 2),
    "no_annotations": ({T.UNLABELED}, 0),
    "no_labeled": ({T.UNLABELED}, 0),
    "no_val": (set(), 2),
    "num_keypoints_missing": (set(), 2),
    "ok": (set(), 2),
    "options_before_overrides": (set(), 2),
    "other_category": ({T.OTHER_CATEGORY}, 2),
    "other_category_same_length": ({T.OTHER_CATEGORY}, 2),
    "results_by_file_name": (set(), 2),
    "results_of_few_images": (set(), 2),
    "same_file_for_both": (set(), 2),
    "size_float": (set(), 2),
    "size_missing": ({T.SIZE_MISSING}, 2),
    "size_wrong": ({T.IMAGE_FILE}, 0),
    "skeleton_name_yes": (set(), 2),
    "skeleton_names_are_numbers": (set(), 2),
    "skeleton_without_mirror": (set(), 2),
    "skeleton_without_sigmas": (set(), 2),
    "stray_annotation": ({T.STRAY}, 1),
    "v0_with_coordinates": ({T.COORDINATES_OF_V0}, 2),
    "v_all_one": (set(), 2),
    "v_three": ({T.VISIBILITY}, 0),
}


@pytest.fixture
def case(tmp_path):
    """Return a function that copies a case, next to which caches are written, to a folder."""

    def copy(name):
        shutil.copytree(CASES / name, tmp_path / name)
        return tmp_path / name / "train.json", tmp_path / name / "images"

    return copy


def train_on(file, folder, **options):
    """Read annotations and all their images, as training does."""
    annotations = read_annotations(file, folder, ANIMAL, only_annotated=True, **options)
    check_labeled(annotations, file)
    dataset = ValDataset(annotations, 64)
    for index in range(len(dataset)):
        dataset[index]
    return annotations


def call_with_warnings(read, *arguments):
    """Return the result of a reader and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = read(*arguments)
    return result, [str(w.message) for w in caught if w.category is UserWarning]


def expected_warnings(types, excluded):
    """Return the issue types that cause a warning."""
    return {type_ for type_ in types if type_.severity in WARNS and type_ not in excluded}


def test_each_case_has_an_outcome():
    assert {*OUTCOMES, "empty_file"} == {path.name for path in CASES.iterdir()}


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES.items(), ids=OUTCOMES)
def test_each_case_is_read_repaired_skipped_or_rejected_as_documented(case, name, outcome):
    types, people = outcome
    file, folder = case(name)
    assert set(inspect_dataset(file, folder, ANIMAL).log.issues) == types
    if people:
        annotations, messages = call_with_warnings(train_on, file, folder)
        assert len(annotations.keypoints) == people
        expected = expected_warnings(types, EVALUATION_ONLY)
        assert len(messages) == len(expected)
        assert all(str(file) in message for message in messages)
        for type_ in expected:
            assert sum(f"x {type_.description}" in message for message in messages) == 1
    else:
        with pytest.raises((ValueError, FileNotFoundError), match=r"train\.json|1\.png"):
            train_on(file, folder)


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES.items(), ids=OUTCOMES)
def test_evaluation_reads_each_case_as_training_does(case, name, outcome):
    types, people = outcome
    file, folder = case(name)
    if not people and not types & {T.FILE_MISSING, T.IMAGE_FILE, T.UNLABELED}:
        with pytest.raises(ValueError, match=r"train\.json"):
            read_ground_truth(file, ANIMAL)
        return
    ground_truth, messages = call_with_warnings(read_ground_truth, file, ANIMAL)
    assert len(messages) == len(expected_warnings(types, TRAINING_ONLY))
    if people:
        annotations, _ = call_with_warnings(train_on, file, folder)
        labeled = ground_truth.keypoints[(ground_truth.keypoints[..., 2] > 0).any(1)]
        assert labeled.astype("float32").tolist() == annotations.keypoints.tolist()


def test_keypoints_are_reordered_by_the_names_in_the_file(case):
    annotations, _ = call_with_warnings(train_on, *case("names_other_order"))
    assert annotations.keypoints[0, :, 0].tolist() == [30, 40, 50]  # the file lists an ear first


def test_coordinates_with_v_0_count_as_labeled_with_v0_as_labeled(case):
    file, folder = case("v0_with_coordinates")
    options = ReadOptions(v0_as_labeled=True)
    assert train_on(file, folder, options=options).keypoints[0, 1].tolist() == [30, 25, 1]
    assert read_ground_truth(file, ANIMAL, options).keypoints[0, 1].tolist() == [30, 25, 1]


def test_an_ambiguous_category_must_be_chosen_by_name(case):
    file, folder = case("other_category_same_length")
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"] = ["a", "b", "c"]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"animal \(3 keypoints\), car .*data\.category=NAME"):
        train_on(file, folder)
    options = ReadOptions(category="car")
    annotations, messages = call_with_warnings(lambda: train_on(file, folder, options=options))
    assert annotations.keypoints[:, 0].tolist() == [[5, 5, 2]]
    assert "front, rear, roof" in "".join(messages)
    assert "nose, left_ear, right_ear" in "".join(messages)
    with pytest.raises(ValueError, match=r"no category 'cat' \(it has animal, car\)"):
        train_on(file, folder, options=ReadOptions(category="cat"))


def test_a_category_with_a_different_number_of_keypoints_is_rejected(case):
    file, folder = case("other_category")
    with pytest.raises(ValueError, match=r"has 2 keypoints, not 3: tip, grip, and the skeleton"):
        train_on(file, folder, options=ReadOptions(category="poles"))


@pytest.mark.parametrize("encode", [gzip.compress, lambda text: b"\xef\xbb\xbf" + text])
def test_compressed_files_and_byte_order_marks_are_read(case, encode):
    file, folder = case("ok")
    file.write_bytes(encode(file.read_bytes()))
    assert len(train_on(file, folder)) == len(read_ground_truth(file, ANIMAL).image_ids) == 2


@pytest.mark.parametrize("size", [5, 40])
def test_a_truncated_compressed_file_is_rejected(case, size):
    file, folder = case("ok")
    file.write_bytes(gzip.compress(file.read_bytes())[:size])
    with pytest.raises(ValueError, match="not a valid JSON file"):
        train_on(file, folder)


def test_an_empty_file_is_rejected(case):
    with pytest.raises(ValueError, match=r"it is empty; export"):
        train_on(*case("empty_file"))


@pytest.mark.parametrize("name", ["..\\images\\1.png", "C:\\a\\1.png", "./1.png", "x/y/1.png"])
def test_an_image_is_found_by_the_last_parts_of_its_path(case, name):
    file, folder = case("ok")
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = name
    file.write_text(json.dumps(content))
    assert call_with_warnings(train_on, file, folder)[0].record(0).file == folder / "1.png"


def test_two_names_of_the_same_file_are_rejected(case):
    file, folder = case("ok")
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "a/2.png"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"is found at '2\.png', like image 1"):
        train_on(file, folder)


@pytest.mark.parametrize("size", [(96, 80), (80, 96), None])
def test_an_image_with_exif_rotation_is_read_as_it_was_annotated(case, size):
    file, folder = case("ok")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.linear_gradient("L").resize((96, 80)).save(folder / "1.png", exif=exif)
    content = json.loads(file.read_text())
    width, height = size or (None, None)
    content["images"][0] |= {"width": width, "height": height}
    file.write_text(json.dumps(content))
    annotations, _ = call_with_warnings(train_on, file, folder)
    record = annotations.record(0)
    assert (record.width, record.height) == (size or (80, 96))
    assert ValDataset(annotations, 64)[0].image.shape[1:] == (
        (64, 128) if size == (96, 80) else (128, 64)
    )


SKELETONS = {
    "skeleton_name_yes": "contains the name True, which is not a string: YAML",
    "skeleton_names_are_numbers": "contains the name 1, which is not a string: YAML",
    "skeleton_without_sigmas": "has no sigmas: give one number for each of its 3 keypoints",
}


@pytest.mark.parametrize(("name", "message"), SKELETONS.items(), ids=SKELETONS)
def test_an_incomplete_skeleton_is_rejected_with_a_clear_message(name, message):
    (file,) = (CASES / name / "conf/skeleton").iterdir()
    with pytest.raises(InstantiationException) as error:
        instantiate(OmegaConf.load(file))
    assert message in format_error(error.value)


def test_flip_pairs_are_derived_if_a_skeleton_has_none():
    (file,) = (CASES / "skeleton_without_mirror/conf/skeleton").iterdir()
    assert instantiate(OmegaConf.load(file)).flip_indices == (0, 2, 1)


@pytest.mark.parametrize(
    ("val", "option"),
    [("null", ""), ("0.1", " val_fraction=0.1"), ("5", ""), ("images", None), ("[a]", None)],
)
def test_a_data_set_without_a_validation_split_is_rejected_with_the_command_that_splits_it(
    val, option
):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("data_check", [f"data.val={val}", "data.root=my foxes", "data.train=[a,b]"])
    with pytest.raises(InstantiationException) as error:
        instantiate(cfg.data, _convert_="object")
    message = format_error(error.value)
    assert "is not [FILE,FOLDER]" in message
    command = f"`tagpose data split 'source=my foxes/a' 'images=my foxes/b'{option}` splits"
    assert (command in message) is (option is not None)
    assert "tagpose data split" in message


def test_the_command_for_a_data_set_without_a_validation_split_works(case, tmp_path):
    file, _ = case("no_val")
    with pytest.raises(ValueError, match="tagpose data split") as error:
        parse_splits(file.parent, ["train.json", "images"], 0.5)
    (command,) = re.findall("`tagpose data split (.*?)`", str(error.value))
    output = succeeded(run("data_split", *shlex.split(command), "output=new", cwd=tmp_path)).stdout
    assert "next: tagpose data skeleton annotations=new/train.json" in output
    splits = parse_splits(tmp_path / "new", ["train.json", "images"], ["val.json", "images"])
    for split in splits:
        assert (
            len(
                read_annotations(
                    tmp_path / "new" / split.annotations, file.parent / "images", ANIMAL
                )
            )
            == 1
        )


def score(case, name, tmp_path, *options):
    """Return what `tagpose score` prints for a case."""
    file, _ = case(name)
    conf = CASES / "skeleton_without_mirror/conf"
    result = run(
        "score", "skeleton=nomirror", f"--config-dir={conf}", f"ground_truth={file}",
        f"results={file.parent}/results.json", *options, cwd=tmp_path,
    )  # fmt: skip
    return " ".join(succeeded(result).stdout.split())


def test_command_line_options_may_be_mixed_with_overrides(case, tmp_path):
    assert "1.000" in score(case, "annotation_id_zero_score", tmp_path, "+paths.more=1")


def test_results_may_name_images_by_file_name(case, tmp_path):
    assert "1.000" in score(case, "results_by_file_name", tmp_path)


def test_images_without_a_prediction_are_reported(case, tmp_path):
    output = score(case, "results_of_few_images", tmp_path)
    assert (
        "1 of 2 images of the ground truth have no predictions; the people annotated in them (1)"
        in output
    )


def test_splits_that_share_images_cause_a_warning(case):
    file, _ = case("same_file_for_both")
    split = ["train.json", "images"]
    data = PoseDataModule(file.parent, ANIMAL, split, split, 64, 1, 1, 0, {})
    with pytest.warns(UserWarning, match=r"2 x images in both train and val.*1\.png"):
        data.setup("fit")


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_of_several_ranks_warns_and_only_once(case, monkeypatch, rank):
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    file, _ = case("iscrowd_missing")
    split = ["train.json", "images"]
    data = PoseDataModule(file.parent, ANIMAL, split, split, 64, 1, 1, 0, {})
    _, messages = call_with_warnings(data.setup, "fit")
    kinds = ["annotations without iscrowd", "images in both train and val"]
    assert len(messages) == (0 if rank else len(kinds))
    assert all(kind in message for kind, message in zip(kinds, messages, strict=False))
    assert call_with_warnings(data.setup, "fit")[1] == []  # Lightning calls it once more


@pytest.mark.parametrize(("content", "shared"), [(False, 0), (True, 1)])
def test_copies_of_an_image_are_found_by_their_content(case, content, shared):
    file, folder = case("ok")
    (folder / "sub").mkdir()
    shutil.copyfile(folder / "1.png", folder / "sub/copy.png")
    log = IssueLog(file)
    log_shared_images([f"{folder}/1.png"], [f"{folder}/sub/copy.png"], log, content=content)
    assert log.counts.get(T.SHARED_IMAGES, 0) == shared


def test_a_missing_file_of_a_custom_data_set_does_not_mention_coco(tmp_path):
    split = ["train.json", "images"]
    with pytest.raises(FileNotFoundError, match=r"lacks .*train\.json.*data\.train=\[FILE"):
        PoseDataModule(tmp_path, ANIMAL, split, split, 64, 1, 1, 0, {}).setup("fit")


def test_the_documentation_lists_every_issue_type():
    text = (ROOT / "docs/data.md").read_text()
    for type_ in T:
        assert f"| {type_.severity.value} | {type_.description} | {type_.advice} |" in text, (
            type_.name
        )
