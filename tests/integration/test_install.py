"""The installation without extras: its imports, and a prediction in an environment of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY

ROOT = Path(__file__).parents[2]
# packages of the extras, and those that they install
NOT_INSTALLED = (
    *("albucore", "albumentations", "lightning", "matplotlib", "pandas", "pycocotools", "wandb"),
    *("av", "gradio", "onnx", "onnxruntime", "onnxscript", "pi_heif", "pose_format"),
    *("huggingface_hub", "pyarrow", "scipy", "supervision", "timm", "torchvision", "trackers"),
)
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({NOT_INSTALLED}))"


@pytest.fixture
def folder(tmp_path):
    """A folder with a checkpoint and an image."""
    write_checkpoint(tmp_path / "x.ckpt", PoseNetwork("hrnet_w18_small", BODY, input_size=64))
    Image.effect_noise((96, 64), 50).convert("RGB").save(tmp_path / "a.jpg")
    return tmp_path


def run(folder, *words, python=sys.executable):
    """Run Python in a folder and return its output; warnings are shown, not raised."""
    result = subprocess.run([python, *words], cwd=folder, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_programs_without_training_import_nothing_of_the_extras(tmp_path):
    programs = (
        "predict",
        "models",
        "score",
        "convert",
        "publish",
        "data_split",
        "data_skeleton",
        "data_download",
    )
    imports = "".join(f"; import tagpose.cli.{program}" for program in programs)
    run(tmp_path, "-c", BLOCK + imports)


def test_prediction_needs_none_of_the_extras(folder):
    code = (
        f"{BLOCK}; from tagpose import Predictor\n"
        "print(Predictor('x.ckpt', device='cpu')('a.jpg').size)\n"
        # torch's compiler and what it needs take longer to import than torch itself
        "print({'torch._dynamo', 'torch._inductor', 'sympy'} & {*sys.modules})"
    )
    assert run(folder, "-c", code) == "(96, 64)\nset()\n"


def test_a_program_of_an_extra_names_it(tmp_path):
    code = f"{BLOCK}; sys.argv = ['tagpose', 'train']; from tagpose.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True
    )
    assert result.returncode == 1
    assert re.fullmatch(
        r'error: \w+ is not installed; install it with pip install "tagpose\[train\]"\n',
        result.stderr,
    )


@pytest.mark.slow  # downloads and installs torch
@pytest.mark.timeout(1800)
def test_the_wheel_predicts_in_a_clean_environment(folder):
    run(ROOT, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = "".join(f"{pin}\n" for pin in re.findall(r"^([\w.-]+==[^\\\n]+)", lock, re.MULTILINE))
    (folder / "pins.txt").write_text(pins, encoding="utf-8")
    run(folder, "-m", "venv", "clean")
    python = str(folder / "clean/bin/python")
    run(folder, "-m", "pip", "install", "-q", str(wheel), "-c", "pins.txt", python=python)
    installed = json.loads(run(folder, "-m", "pip", "list", "--format=json", python=python))
    names = {package["name"].lower().replace("-", "_") for package in installed}
    assert not names & set(NOT_INSTALLED)
    words = ("checkpoint=x.ckpt", "images=a.jpg", "output=out", "predictor.device=cpu")
    run(folder, "-m", "tagpose", "predict", *words, python=python)
    assert (folder / "out/a.png").is_file()
    assert (folder / "out/results.json").is_file()
