"""Exports of annotation tools are split into train and val, and dropped rows are reported."""

import gzip
import json
import random
import stat
import subprocess
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.annotation_exports import (
    HEIGHT,
    NAMES,
    WIDTH,
    coco,
    cvat,
    person,
    roboflow,
    write_coco,
    write_image,
    yolo,
)
from helpers.run_scripts import command
from tagpose.data.annotation_tools.source_dataset import DropLog
from tagpose.data.annotation_tools.source_reader import read_source
from tagpose.data.annotation_tools.train_val_split import (
    assign_splits,
    choose_val,
    group_images,
    write_split,
)
from tagpose.data.safe_unzip import safe_unzip
from tagpose.io import atomic_folder

FILES = [f"{n}.png" for n in range(10)]


def read(path, **options):
    log = DropLog()
    return read_source(path, log, **options), log


def unzip_and_read(archive, folder):
    folder.mkdir()
    safe_unzip(archive, folder)
    return read(folder)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_each_image_is_in_one_split_that_does_not_depend_on_the_order_of_rows(tmp_path, fraction):
    content = coco(FILES)
    write_coco(tmp_path, FILES)
    splits = []
    for seed in (0, 1):
        random.Random(seed).shuffle(content["images"])
        (tmp_path / "foxes.json").write_text(json.dumps(content))
        source, _ = read(tmp_path / "foxes.json")
        splits.append(assign_splits(source, "image", fraction, 0).splits)
    assert splits[0] == splits[1]
    assert list(splits[0].values()).count("val") == 10 * fraction
    others = [assign_splits(source, "image", fraction, seed).splits for seed in range(1, 5)]
    assert any(splits[0] != other for other in others)


def test_rows_are_written_unchanged_with_a_link_to_the_images(tmp_path):
    content = coco(FILES, info={"description": "foxes"}, licenses=[])
    content["annotations"][0] |= {"keypoints": [[1, 2, 2]] * 3, "track_id": 7, "iscrowd": False}
    write_coco(tmp_path, FILES, **content)
    source, log = read(tmp_path / "foxes.json")
    with atomic_folder(tmp_path / "out", "output=FOLDER") as folder:
        write_split(source, assign_splits(source, "image", None, 0).splits, folder)
    parts = [json.loads((tmp_path / f"out/{split}.json").read_text()) for split in ("train", "val")]
    for key in ("images", "annotations"):
        rows = [row for part in parts for row in part[key]]
        assert sorted(rows, key=lambda row: row["id"]) == content[key]
    assert all(part["info"] == {"description": "foxes"} for part in parts)
    assert all((tmp_path / "out/images" / file).is_file() for file in FILES)
    assert (tmp_path / "out/images").is_symlink()
    assert log.lines() == []


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), min_size=2),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_a_group_is_never_split_and_both_splits_have_labels(images, fraction, seed):
    groups, labeled = zip(*images, strict=True)
    if len({group for group, is_labeled in images if is_labeled}) < 2:
        with pytest.raises(ValueError, match="need at least one such group each"):
            choose_val(groups, labeled, fraction, seed)
        return
    in_val = choose_val(groups, labeled, fraction, seed)
    assert not set(map(groups.__getitem__, in_val.nonzero()[0])) & set(
        map(groups.__getitem__, (~in_val).nonzero()[0])
    )
    assert {split for split, is_labeled in zip(in_val, labeled, strict=True) if is_labeled} == {
        False,
        True,
    }


@pytest.mark.parametrize(
    ("by", "names", "groups"),
    [
        ("image", ["a_jpg.rf.1.jpg", "a_jpg.rf.2.jpg", "b.jpg"], ["a_jpg", "a_jpg", "b.jpg"]),
        ("folder", ["x/1.jpg", "x/2.jpg", "y/1.jpg"], ["x", "x", "y"]),
        ("video", ["a_01.jpg", "a_2.jpg", "b-frame0003.jpg", "7.jpg"], ["a", "a", "b", "7.jpg"]),
        ("video", ["run 3_7_jpg.rf.ab.jpg", "run 3_9_jpg.rf.cd.jpg"], ["run 3", "run 3"]),
        (r"^(cam\d)_", ["cam1_a.jpg", "cam2_b.jpg"], ["cam1", "cam2"]),
    ],
)
def test_groups_are_derived_from_the_names(by, names, groups):
    assert group_images(names, by) == groups


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("(", "not a valid regular"),
        ("cam", "without a group"),
        (r"^(x)", "match the image 'a.jpg'"),
    ],
)
def test_an_invalid_group_expression_is_refused(by, message):
    with pytest.raises(ValueError, match=message):
        group_images(["a.jpg"], by)


@pytest.mark.parametrize(
    "name", ["images/{}", "C:\\data\\images\\{}", "/home/me/{}", "../up/{}", "{}"]
)
def test_images_are_found_if_their_names_contain_other_folders(tmp_path, name):
    content = coco([name.format(file) for file in FILES])
    write_coco(tmp_path, FILES, **content)
    source, _ = read(tmp_path / "foxes.json")
    files = [source.folder / row["file_name"] for row in source.images]
    assert files == [tmp_path / "images" / file for file in FILES]


def test_dropped_rows_are_counted_by_reason(tmp_path):
    content = coco([*FILES, "gone.png"])
    content["categories"].append({"id": 2, "name": "box"})
    content["annotations"] += [person(50, 99), person(51, 1, category=2)]
    file = write_coco(tmp_path, FILES, **content)
    source, log = read(file)
    assert (len(source.images), len(source.annotations)) == (10, 10)
    assert log.lines() == [
        "dropped: 1 images without a file (gone.png)",
        "dropped: 2 annotations of missing images (id 11, id 50)",
        "dropped: 1 annotations of other categories than 'fox' (box)",
    ]


def test_one_of_several_categories_must_be_chosen(tmp_path):
    poles = {"id": 2, "name": "poles", "keypoints": ["tip", "grip"], "skeleton": []}
    content = coco(FILES)
    content["categories"].append(poles)
    content["annotations"].append(person(50, 1, category=2, names=["tip", "grip"]))
    file = write_coco(tmp_path, FILES, **content)
    with pytest.raises(ValueError, match="choose one of fox, poles with category=NAME"):
        read(file)
    with pytest.raises(ValueError, match="category=cat matches 0 categories"):
        read(file, category="cat")
    source, log = read(file, category="poles")
    assert (source.categories, len(source.annotations)) == ([poles], 1)
    assert "10 annotations of other categories than 'poles' (fox" in log.lines()[0]


def test_a_gzipped_file_is_read_unless_it_is_a_zip_bomb(tmp_path):
    write_coco(tmp_path, FILES)
    file = tmp_path / "foxes.json.gz"
    file.write_bytes(gzip.compress(b"\xef\xbb\xbf" + (tmp_path / "foxes.json").read_bytes()))
    assert len(read(file)[0].images) == 10
    file.write_bytes(gzip.compress(b" " * 10**7))
    with pytest.raises(ValueError, match=r"foxes\.json\.gz .* more than 200 times its size"):
        read(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a valid JSON"),
        ("[]", "no lists of images"),
        ('{"images": [1], "annotations": []}', "expected an object"),
        ('{"images": [{"id": 1}], "annotations": []}', "no valid id or file_name"),
        ('{"images": [], "annotations": []}', "no images"),
    ],
)
def test_an_invalid_coco_file_is_refused_with_its_name(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        read(tmp_path / "x.json")


def test_a_cvat_zip_is_one_data_set_with_its_image_names(tmp_path):
    source, log = unzip_and_read(cvat(tmp_path), tmp_path / "out")
    assert [row["file_name"] for row in source.images] == [f"frame_{n:06d}.png" for n in range(8)]
    assert (source.splits, log.lines()) == ({}, [])


@pytest.mark.parametrize("subsets", [("Train", "Validation"), ("cam_a", "cam_b")])
def test_cvat_subsets_with_equal_file_names_keep_their_images(tmp_path, subsets):
    for subset in subsets:
        write_coco(tmp_path, FILES, f"images/{subset}")
        target = tmp_path / f"annotations/person_keypoints_{subset}.json"
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "foxes.json").rename(target)
    source, _ = read(tmp_path)
    assert source.folder == tmp_path / "images"
    assert [row["file_name"] for row in source.images] == [
        f"{subset}/{file}" for subset in subsets for file in FILES
    ]


def test_two_folders_with_the_same_images_are_ambiguous(tmp_path):
    file = write_coco(tmp_path, FILES)
    write_coco(tmp_path, FILES, "small")
    with pytest.raises(ValueError, match=r"images with its file names are in .* and in "):
        read(file)
    assert read(file, images=tmp_path / "small")[0].folder == tmp_path / "small"


def test_roboflow_splits_are_kept_and_copies_of_an_image_stay_together(tmp_path):
    source, _ = unzip_and_read(roboflow(tmp_path), tmp_path / "out")
    assert len({row["id"] for row in source.annotations}) == len(source.annotations) == 12
    names = {str(row["id"]): row["file_name"] for row in source.images}
    kept = assign_splits(source, "image", None, 0).splits
    split_of_folder = {"train": "train", "valid": "val", "test": "test"}
    assert {i: split_of_folder[name.split("/")[0]] for i, name in names.items()} == kept
    changed = assign_splits(source, "image", 0.4, 0).splits
    for i, split in changed.items():
        assert split == changed[next(j for j in names if names[j][:8] == names[i][:8])]
        assert (split == "test") == names[i].startswith("test")


CONFIG = "kpt_shape: [3, {}]\nflip_idx: [0, 2, 1]\nnames: [fox]\n"


@pytest.mark.parametrize("values", [2, 3])
def test_yolo_labels_are_converted_to_pixels(tmp_path, values):
    keypoints = [40.0, 30.0, 2, 30.5, 25.25, 2, 0, 0, 0]
    numbers = []
    for x, y, v in zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True):
        numbers += [x / WIDTH, y / HEIGHT, v][:values]
    label = " ".join(map(str, [0, 0.5, 0.5, 0.25, 0.5, *numbers]))
    folder = yolo(
        tmp_path, {"a": label + "\n", "b": "0 .5 .5 1 1\n", "c": ""}, CONFIG.format(values)
    )
    source, _ = read(folder)
    person_with_keypoints, box_only = source.annotations
    assert person_with_keypoints["keypoints"] == pytest.approx(keypoints, abs=1e-3)
    assert (
        person_with_keypoints["bbox"],
        person_with_keypoints["area"],
        person_with_keypoints["num_keypoints"],
    ) == ([24, 12, 16, 24], 384, 2)
    assert box_only["keypoints"] == [0, 0, 0] * 3
    assert source.categories[0]["flip_idx"] == [0, 2, 1]
    assert [row["image_id"] for row in source.annotations] == [1, 2]
    assert len(source.images) == 3


def test_yolo_splits_follow_the_folders_in_either_layout(tmp_path):
    lines = "0 .5 .5 .5 .5 .5 .5 .4 .4 .6 .6\n"
    folder = yolo(tmp_path / "a", {"train/1": lines, "val/1": lines}, CONFIG.format(2))
    assert list(read(folder)[0].splits.values()) == ["train", "val"]
    for split in ("train", "valid"):
        yolo(tmp_path / "b" / split, {"1": lines}, None)
    (tmp_path / "b/data.yaml").write_text(CONFIG.format(2))
    source, _ = read(tmp_path / "b/data.yaml")
    assert (list(source.splits.values()), len(source.annotations)) == (["train", "val"], 2)


def test_yolo_keypoints_without_names_are_numbered_or_named_by_the_user(tmp_path):
    lines = "0 .5 .5 .5 .5 .5 .5 .4 .4 .6 .6\n"
    folder = yolo(tmp_path, {"1": lines}, CONFIG.format(2))
    source, _ = read(folder)
    assert source.categories[0]["keypoints"] == ["keypoint_1", "keypoint_2", "keypoint_3"]
    assert "has no keypoint names" in source.notes[0]
    assert read(folder, keypoints=NAMES)[0].categories[0]["keypoints"] == NAMES
    (folder / "data.yaml").unlink()
    with pytest.raises(ValueError, match="with keypoints="):
        read(folder)
    assert read(folder, keypoints=NAMES)[0].annotations[0]["num_keypoints"] == 3


@pytest.mark.parametrize(
    ("lines", "config", "message"),
    [
        (
            "0 .5 .5 .5 .5 .1\n",
            CONFIG.format(2),
            r"1\.txt:1: 5 numbers after the class, expected 10",
        ),
        ("0 .5 .5 .5 x\n", CONFIG.format(2), "could not convert"),
        ("1 .5 .5 .5 .5\n", CONFIG.format(2), "class 1 is not in names"),
        ("0 320 240 50 50\n", CONFIG.format(2), "not a fraction"),
        ("0 .5 .5 .5 .5 .5 .5 7 .4 .4 1 .6 .6 1\n", CONFIG.format(3), "visibility 7"),
        ("", "kpt_shape: 17\n", "kpt_shape is 17"),
        ("", "a: &a [1]\nkpt_shape: [*a, *a]\n", "contains aliases"),
        ("", "kpt_shape: [3, 2]\nflip_idx: [1, 2, 0]\n", "flip_idx is"),
        ("", "kpt_shape: [3, 2]\nkpt_names: {0: [a, b]}\n", "3 keypoints, but there are 2 names"),
    ],
)
def test_inconsistent_yolo_labels_are_refused_with_their_line(tmp_path, lines, config, message):
    with pytest.raises(ValueError, match=message):
        read(yolo(tmp_path, {"1": lines}, config))


def test_yolo_sizes_are_upright_and_images_of_ambiguous_orientation_are_dropped(tmp_path):
    yolo(tmp_path, dict.fromkeys("123", "0 .5 .5 .5 .5\n"), CONFIG.format(2), "jpg")
    write_image(tmp_path / "images/2.jpg", orientation=6)
    write_image(tmp_path / "images/3.jpg", orientation=3)
    source, log = read(tmp_path)
    sizes = [(row["width"], row["height"]) for row in source.images]
    assert sizes == [(WIDTH, HEIGHT), (HEIGHT, WIDTH)]
    assert "1 images that EXIF flips" in log.lines()[0]


def write_hostile_zip(kind, archive):
    with ZipFile(archive, "w", ZIP_DEFLATED) as zip_file:
        names = {
            "up": "../x.png",
            "absolute": "/x.png",
            "windows": "a\\..\\..\\x.png",
            "drive": "c:/x.png",
        }
        member = ZipInfo(names.get(kind, "x.png"))
        member.compress_type = ZIP_DEFLATED
        if kind == "link":
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
        zip_file.writestr(member, b"\0" * (11 * 10**7 if kind == "bomb" else 10))
        if kind == "duplicate":
            with pytest.warns(UserWarning, match="Duplicate"):
                zip_file.writestr("x.png", b"")
    if kind == "truncated":
        archive.write_bytes(archive.read_bytes()[:-10])


@pytest.mark.parametrize(
    "kind", ["up", "absolute", "windows", "drive", "link", "bomb", "duplicate", "truncated"]
)
def test_a_hostile_archive_is_refused_and_leaves_no_files(tmp_path, kind):
    write_hostile_zip(kind, tmp_path / "x.zip")
    with (
        pytest.raises(ValueError, match=r"x\.zip"),
        atomic_folder(tmp_path / "deep/out", "output=FOLDER") as folder,
    ):
        safe_unzip(tmp_path / "x.zip", folder)
    assert not list((tmp_path / "deep").iterdir())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["deep", "x.zip"]


def test_the_program_splits_once_and_reports_its_results(tmp_path):
    archive = cvat(tmp_path)
    overrides = ("source=task_1.zip", "output=out", "group=^frame_(.*)$", "val_fraction=0.25")
    first, second = [
        subprocess.run(
            command("data_split", *overrides),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for _ in range(2)
    ]
    assert first.returncode == 0, first.stderr
    assert "read: 8 images, 8 annotations (COCO keypoints: person_keypoints_default" in first.stdout
    assert "val: 2 images, 2 annotations: out/val.json" in first.stdout
    assert "next: tagpose data skeleton annotations=out/train.json" in first.stdout
    assert (tmp_path / "out/images/frame_000000.png").is_file()
    assert second.returncode == 1
    assert second.stderr == (
        "error: out already exists and is not overwritten; remove it, or choose another "
        "output=FOLDER\n"
    )
    assert archive.exists()


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        choose_val("ab", [True, True], fraction, 0)
