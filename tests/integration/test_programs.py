"""Programs as users run them: both stages, evaluation, prediction, and errors."""

import ast
import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.run_scripts import found_first, run, succeeded
from tagpose.cli.errors import friendly_errors
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.video.reader import open_video
from tagpose.video.writer import write_video

SMALL = (
    "data.batch_size=4",
    "data.num_workers=0",
    "input_size=64",
    "logger=csv",
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "trainer.accelerator=cpu",
)

LEFT_HAND = WHOLEBODY.keypoints[WHOLEBODY.parts["lefthand"]]


@pytest.fixture(scope="module")
def stages(people, tmp_path_factory):
    """Return a folder in which both stages were trained for one epoch."""
    folder = tmp_path_factory.mktemp("stages")
    data = f"data.root={people}"
    small = [word for word in SMALL if not word.startswith("logger")]  # wandb, offline
    first = run("train", "experiment=demo_pretrain", data, "hydra.run.dir=one", *small, cwd=folder)
    succeeded(first)
    second = run(
        "train", "experiment=demo_finetune", data, "hydra.run.dir=two", "init_from=one/best.ckpt",
        *SMALL, cwd=folder,
    )  # fmt: skip
    assert "the head channels of 17 keypoints" in succeeded(second).stdout
    return folder


def test_both_stages_write_checkpoints_curves_and_images(stages):
    for stage in ("one", "two"):
        for name in ("best.ckpt", "last.ckpt", "metrics.csv", "curves.png", ".hydra/config.yaml"):
            assert (stages / stage / name).exists()
        assert list((stages / stage / "validation_images").glob("*.jpg"))


def test_wandb_logs_offline_with_images(stages):
    (folder,) = (stages / "one/wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))
    assert list(folder.glob("files/media/images/val/images*.png"))


def test_checkpoints_can_be_read_without_running_code(stages):
    for stage in ("one", "two"):
        torch.load(stages / stage / "last.ckpt", weights_only=True)


def test_evaluate_prints_the_table_and_writes_coco_results(stages, people):
    arguments = (
        "checkpoint=two/best.ckpt",
        "data=synthetic",
        f"data.root={people}",
        "input_size=64",
    )
    result = run(
        "evaluate", *arguments, "data.num_workers=0", "output=scored", "pictures=2", cwd=stages
    )
    text = succeeded(result).stdout
    assert "synthetic data" in text
    for part in ("body", "foot", "face", "left hand", "right hand", "hand", "whole"):
        assert part in text
    rows = json.loads((stages / "scored/results.json").read_text())
    assert all(len(row["face_kpts"]) == 3 * 68 for row in rows)
    assert set(json.loads((stages / "scored/metrics.json").read_text())["parts"]) >= {"wholebody"}
    assert len(list((stages / "scored/pictures").iterdir())) == 2


def test_predict_writes_one_result_file_and_a_picture_per_image(stages, people):
    arguments = (
        "checkpoint=two/best.ckpt",
        f"images={people}/val2017",
        "input_size=64",
        "output=predicted",
    )
    succeeded(run("predict", *arguments, cwd=stages))
    assert isinstance(json.loads((stages / "predicted/results.json").read_text()), list)
    drawn = {file.stem for file in (stages / "predicted").glob("*.png")}
    assert drawn == {file.stem for file in (people / "val2017").iterdir()}


def test_unreadable_images_are_listed_and_the_others_are_predicted(stages, people, tmp_path):
    good = sorted((people / "val2017").iterdir())[:2]
    for file in good:
        shutil.copy(file, tmp_path)
    (tmp_path / "broken.jpg").write_text("no picture")
    arguments = ("checkpoint=two/best.ckpt", f"images={tmp_path}/*.jpg", "output=partly")
    result = run("predict", *arguments, "formats=[jsonl,pictures]", cwd=stages)
    assert result.returncode == 1
    assert "1 of 3 images cannot be read:" in result.stderr
    assert "broken.jpg cannot be read" in result.stderr
    lines = (stages / "partly/people.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == [file.name for file in good]
    assert {file.stem for file in (stages / "partly").glob("*.png")} == {f.stem for f in good}


def test_a_video_is_written_with_poses_and_results_per_frame(stages, people, tmp_path):
    image = np.asarray(Image.open(next((people / "val2017").iterdir())).convert("RGB"))
    with write_video(tmp_path / "walk.mp4", Fraction(10)) as writer:
        for number in range(4):
            writer.add(np.roll(image, number, axis=1), number / 10)
    arguments = ("checkpoint=two/best.ckpt", f"images={tmp_path}/walk.mp4", "output=film")
    writes = ("formats=[coco,jsonl,pictures]", "video.max_frames=3")
    succeeded(run("predict", *arguments, *writes, cwd=stages))
    lines = [json.loads(text) for text in (stages / "film/people.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["time"]) for line in lines] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    with open_video(str(stages / "film/walk.mp4")) as clip:
        assert [frame.image.shape for frame in clip.frames] == 3 * [image.shape]
    rows = json.loads((stages / "film/results.json").read_text())
    assert {"track_id", "image_id", "keypoints"} <= set().union(*rows)


def test_images_of_equal_names_get_different_outputs_and_no_input_is_overwritten(
    stages, people, tmp_path
):
    good = sorted((people / "val2017").iterdir())[:2]
    for folder, file in zip(("a", "b"), good, strict=True):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "1.png")
    arguments = ("checkpoint=two/best.ckpt", f"images={tmp_path}/*/1.png", "output=apart")
    succeeded(run("predict", *arguments, cwd=stages))
    drawn = {str(f.relative_to(stages / "apart")) for f in (stages / "apart").rglob("*.png")}
    assert drawn == {"a/1.png.png", "b/1.png.png"}
    image = f"images={tmp_path}/a/1.png"
    result = run("predict", "checkpoint=two/best.ckpt", image, f"output={tmp_path}/a", cwd=stages)
    assert "would be overwritten" in result.stderr
    assert (tmp_path / "a/1.png").read_bytes() == good[0].read_bytes()


def image_size(file):
    with Image.open(file) as picture:
        return picture.size


def test_all_formats_contain_the_same_people(stages, people, tmp_path):
    files = sorted((people / "val2017").iterdir())[:2]
    for file in files:
        shutil.copy(file, tmp_path)
    kinds = ["pictures", "openpose", "openpose_coco", "controlnet", "dwpose", "csv"]
    options = (
        *(
            "input_size=64",
            f"formats=[{','.join(kinds)}]",
            "parts=[body,lefthand]",
            "output=formats",
        ),
        *("min_person_score=0", "min_keypoint_score=0", "picture.format=source"),
        *(
            "picture.max_size=96",
            "style.color_by=person",
            "style.blur_faces=true",
            "style.ids=true",
        ),
    )
    succeeded(
        run("predict", "checkpoint=two/best.ckpt", f"images={tmp_path}", *options, cwd=stages)
    )
    folder = stages / "formats"
    with (folder / "keypoints.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["keypoint"] for row in rows} <= {*BODY.keypoints, *LEFT_HAND}
    for file in files:
        assert max(image_size(folder / file.name)) == 96
        document = json.loads((folder / f"openpose/{file.stem}_keypoints.json").read_text())
        people_of_file = {row["person"] for row in rows if Path(row["image"]).name == file.name}
        assert len(document["people"]) == len(people_of_file)
        canvas = json.loads((folder / f"controlnet/{file.stem}.json").read_text())
        assert image_size(file) == (canvas["canvas_width"], canvas["canvas_height"])
        assert image_size(file) == image_size(folder / f"dwpose/{file.stem}.png")


def test_an_unknown_part_is_an_error_before_any_work(stages, people):
    words = ("checkpoint=two/best.ckpt", f"images={people}/val2017", "parts=[hand]", "output=none")
    result = run("predict", *words, cwd=stages)
    assert result.returncode == 1
    message = "error: unknown part 'hand'; skeleton 'wholebody' has body, foot, face, lefthand"
    assert result.stderr.startswith(message)
    assert not (stages / "none").exists()


def test_a_format_with_a_missing_package_is_an_error_before_any_work(stages, people, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(name='pyarrow')")
    words = (
        "checkpoint=two/best.ckpt",
        f"images={people}/val2017",
        "formats=[parquet]",
        "output=none",
    )
    result = run("predict", *words, cwd=stages, **found_first(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "pyarrow" in result.stderr
    assert "pip install" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("images=https://host/a.jpg", "is the URL of an image"),
        ("images=nowhere", "no images found at nowhere"),
        ("images=77", "camera 77 cannot be opened"),
        (
            "formats=coco",
            "formats=coco is invalid; use a list [...], in which each entry is a text",
        ),
        ("formats=[openpse]", "not a list of known formats; use some of [pictures, coco, jsonl"),
        (
            "parts=body",
            "parts=body is invalid; use a list [...], in which each entry is a text, or",
        ),
        ("style.color_by=side", "style.color_by=side is invalid; use part or person"),
        ("unfiltered=[cocoo]", "unfiltered=['cocoo'] is not a list of known formats"),
        ("picture.format=gig", "unknown image format 'gig'; use source or one of"),
    ],
)
def test_invalid_options_of_predict_are_errors_in_one_sentence(stages, argument, message):
    images = () if argument.startswith("images") else ("images=.",)
    result = run("predict", "checkpoint=two/best.ckpt", argument, *images, cwd=stages)
    assert result.returncode == 1
    assert message in result.stderr


TRAINING_ONLY = {
    *("lightning", "albumentations", "torchmetrics", "matplotlib", "timm", "torchvision"),
    *("av", "trackers"),
}


def find_imports(name):
    """Return the modules that a module imports, other than those inside of functions."""
    tree, found = ast.parse(Path(importlib.util.find_spec(name).origin).read_text()), set()
    for line in tree.body:
        if isinstance(line, ast.Import):
            found |= {alias.name for alias in line.names}
        elif isinstance(line, ast.ImportFrom):
            found |= {line.module, *(f"{line.module}.{alias.name}" for alias in line.names)}
    return found


def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name in a module
        return False


def test_no_module_of_predict_imports_the_libraries_of_training():
    # the second one is named by the configuration
    waiting, reached = ["tagpose.cli.predict", "tagpose.inference.predictor"], set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            if name.startswith("tagpose") and is_module(name):
                waiting += [*find_imports(name), name.rpartition(".")[0] or "tagpose"]
    libraries = {name.partition(".")[0] for name in reached}
    assert "torch" in libraries
    assert not TRAINING_ONLY & libraries


# run in a new process, which lists the modules that a program imports at start
LOADED = """
import sys

import tagpose.cli.predict
import tagpose.inference.predictor  # named by the configuration

print(*sys.modules)
"""


@pytest.mark.slow
def test_predict_does_not_import_the_libraries_of_training():
    command = [sys.executable, "-c", LOADED]
    loaded = subprocess.run(command, text=True, capture_output=True, check=True).stdout.split()
    assert {"torch", "tagpose.inference"} <= set(loaded)
    # they would take twice as long as everything else until the first result
    assert not TRAINING_ONLY & set(loaded)


def test_predict_checks_its_options_without_torch_and_without_a_download(tmp_path):
    environment = os.environ | {"TAGPOSE_ZOO_URL": "http://127.0.0.1:9"}  # no server
    command = [sys.executable, "-X", "importtime", "-m", "tagpose", "predict", "images=nowhere"]
    result = subprocess.run(
        command, text=True, capture_output=True, check=False, cwd=tmp_path, env=environment
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: no images found at nowhere")
    assert "cannot be reached" not in result.stderr
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "tagpose.inference.image_outputs" in imported
    assert "torch" not in imported


def _broken_annotations(people, folder):
    """Return a copy of a dataset with truncated annotations."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"{split}2017").symlink_to(people / f"{split}2017")
        name = f"annotations/coco_wholebody_{split}_v1.0.json"
        text = (people / name).read_text()
        (folder / name).write_text(text[: len(text) // 2])
    return folder


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train", ("experiment=finetune",), "init_from is missing"),
        ("train", ("experiment=finetune", "init_from=x.ckpt"), "the dataset lacks data/coco"),
        ("train", ("experiment=demo_finetune", "init_from=x.ckpt", "DATA"), "x.ckpt is missing"),
        slow(
            "train",
            ("experiment=demo_finetune", "init_from=TEXT", "DATA"),
            "is not a complete check",
        ),
        slow(
            "train", ("experiment=demo_finetune", "init=scratch", "BROKEN"), "not a valid JSON file"
        ),
        slow(
            "train",
            ("experiment=demo_pretrain", "DATA", "model.network.architecture=hrnet_w33"),
            "unknown HRNet 'hrnet_w33'; use one of",
        ),
        (
            "train",
            ("experiment=demo_pretrain", "DATA", "trainer.max_epoch=1"),
            "unknown key trainer.max_epoch in the configuration; did you mean max_epochs?",
        ),
        slow("train", ("experiment=demo_pretrain", "DATA", "+trainer.max_epoch=1"), "max_epoch"),
        ("evaluate", (), "checkpoint is missing; set it with checkpoint=VALUE"),
        ("predict", ("checkpoint=x.ckpt", "images=nowhere"), "no images found at nowhere"),
    ],
)
def test_user_errors_are_reported_in_one_sentence(people, tmp_path, script, arguments, message):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    replaced = {"DATA": f"data.root={people}", "init_from=TEXT": "init_from=text.ckpt"}
    if "BROKEN" in arguments:
        replaced["BROKEN"] = f"data.root={_broken_annotations(people, tmp_path / 'broken')}"
    small = SMALL if script == "train" else ()
    words = [replaced.get(a, a) for a in arguments]
    result = run(script, *words, *small, "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error: ") == 1
    written = {f.name for f in tmp_path.rglob("*.*") if f.is_file() and "broken" not in f.parts}
    assert written <= {
        ".lock",
        "text.ckpt",
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
        "hparams.yaml",
    }


def test_out_of_memory_names_the_options_that_need_less(capsys):
    with pytest.raises(SystemExit), friendly_errors():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has")
    assert capsys.readouterr().err.startswith("error: CUDA out of memory; use a smaller data.batch")


@pytest.mark.parametrize(
    ("script", "module", "extra"),
    [("app", "gradio", "app"), ("export", "onnxruntime", "export"), ("predict", "av", "video")],
)
def test_a_missing_extra_is_an_error_that_names_the_command_to_install_it(
    tmp_path, script, module, extra
):
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    write_checkpoint(tmp_path / "x.ckpt", PoseNetwork("hrnet_w18_small", BODY, input_size=64))
    (tmp_path / "film.mp4").touch()
    words = ("checkpoint=x.ckpt", *(("images=film.mp4",) if script == "predict" else ()))
    result = run(script, *words, cwd=tmp_path, **found_first(tmp_path))
    assert result.returncode == 1
    assert result.stderr == (
        f'error: {module} is not installed; install it with pip install "tagpose[{extra}]"\n'
    )


def test_only_listed_exceptions_are_reported_without_a_traceback(capsys):
    with pytest.raises(SystemExit), friendly_errors(ArithmeticError):
        raise ArithmeticError("a number")
    assert capsys.readouterr().err == "error: a number\n"
    with pytest.raises(ArithmeticError), friendly_errors():
        raise ArithmeticError("a number")


def test_a_truncated_image_ends_training_with_its_name(people, tmp_path):
    root = tmp_path / "data"
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").symlink_to(people / "annotations")
    (root / "val2017").symlink_to(people / "val2017")
    files = sorted((people / "train2017").iterdir())
    for file in files:
        (root / "train2017" / file.name).write_bytes(file.read_bytes())
    broken = root / "train2017" / files[0].name
    broken.write_bytes(broken.read_bytes()[:800])
    result = run(
        "train", "experiment=demo_pretrain", f"data.root={root}", *SMALL, "data.num_workers=1",
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode != 0
    assert f"{broken} cannot be read as an image" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_checkpoint_of_another_architecture_is_an_error(stages, people):
    result = run(
        "train", "experiment=demo_finetune", f"data.root={people}", "init_from=one/best.ckpt",
        "model.network.architecture=hrnet_w18_small_v2", *SMALL, cwd=stages,
    )  # fmt: skip
    assert result.returncode != 0
    assert "contains hrnet_w18_small, but the model is hrnet_w18_small_v2" in result.stderr


def test_images_of_any_mode_can_be_predicted(stages, tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK"):
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new(mode, (90, 70)).save(tmp_path / f"{mode}.{suffix}")
    arguments = ("checkpoint=two/best.ckpt", f"images={tmp_path}", "input_size=64", "output=modes")
    succeeded(run("predict", *arguments, cwd=stages))
    assert len(list((stages / "modes").glob("*.png"))) == 4


def test_images_of_any_name_can_be_predicted(stages, tmp_path):
    Image.new("RGB", (90, 70)).save(tmp_path / "Zürich (2)=it's.png")
    words = ("checkpoint=two/best.ckpt", f"images={tmp_path}/Zürich (2)=it's.png", "input_size=64")
    succeeded(run("predict", *words, "output=named", cwd=stages))
    assert [file.name for file in (stages / "named").glob("*.png")] == ["Zürich (2)=it's.png"]


def test_training_without_a_best_checkpoint_succeeds(people, tmp_path):
    words = ("experiment=demo_pretrain", f"data.root={people}", "hydra.run.dir=run", *SMALL)
    succeeded(run("train", *words, "~callbacks.best_checkpoint", cwd=tmp_path))
    assert [file.name for file in (tmp_path / "run").glob("*.ckpt")] == ["last.ckpt"]


@pytest.mark.parametrize(
    ("init", "logged"), [(("init_from=gone.ckpt",), "gone.ckpt"), slow((), "null")]
)
def test_a_resumed_run_ignores_init_from_and_continues_at_its_epoch(stages, people, init, logged):
    name = f"resumed_{logged}"
    result = run(
        "train", "experiment=demo_finetune", f"data.root={people}", "resume=two/last.ckpt",
        *(word for word in SMALL if "max_epochs" not in word), "trainer.max_epochs=2", *init,
        f"hydra.run.dir={name}", cwd=stages,
    )  # fmt: skip
    succeeded(result)
    epochs = {row.split(",")[0] for row in (stages / name / "metrics.csv").read_text().split()}
    assert "1" in epochs
    assert "0" not in epochs
    assert f"init_from: {logged}" in (stages / name / "hparams.yaml").read_text()


def test_resuming_from_a_missing_checkpoint_is_an_error(people, tmp_path):
    result = run(
        "train", "experiment=demo_pretrain", f"data.root={people}", "resume=last", *SMALL,
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode != 0
    assert "checkpoint last is missing" in result.stderr


@pytest.mark.slow
def test_a_stage_can_be_trained_by_two_processes(people, tmp_path):
    result = run(
        "train", "experiment=demo_pretrain", f"data.root={people}", "trainer=ddp", *SMALL,
        "trainer.devices=2", "hydra.run.dir=run", cwd=tmp_path,
    )  # fmt: skip
    succeeded(result)
    assert (tmp_path / "run/best.ckpt").exists()
    logged = (tmp_path / "run/metrics.csv").read_text()
    assert "val/ap/body" in logged
    assert {f.name for f in tmp_path.iterdir()} == {"run"}  # only the run folder


def test_a_misspelled_argument_of_a_transform_is_an_error(people, tmp_path):
    result = run(
        "train", "experiment=demo_pretrain", f"data.root={people}", *SMALL,
        "+data.transforms.color.brightnes=1", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode != 0
    assert "brightnes" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_checkpoint_of_another_skeleton_cannot_be_resumed(stages, people):
    result = run(
        "train", "experiment=demo_finetune", f"data.root={people}", "resume=one/last.ckpt", *SMALL,
        cwd=stages,
    )  # fmt: skip
    assert result.returncode != 0
    assert "with the skeleton body, but the model is hrnet_w18_small" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_best_checkpoint_contains_the_averaged_weights(people, tmp_path):
    result = run(
        "train", "experiment=demo_pretrain", f"data.root={people}", "callbacks=ema", *SMALL,
        "hydra.run.dir=run", cwd=tmp_path,
    )  # fmt: skip
    succeeded(result)
    content = torch.load(tmp_path / "run/best.ckpt", weights_only=True)
    current, averaged = content["current_model_state"], content["state_dict"]
    key = "network.head.weight"
    assert not torch.equal(current[key], averaged[key])
