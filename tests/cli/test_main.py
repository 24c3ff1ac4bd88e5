"""Console command: program names in the package, scripts, configuration, Makefile and wheel."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
from hatchling.builders.wheel import WheelBuilder

from helpers.run_scripts import ROOT, run
from tagpose.cli.main import PROGRAMS, usage
from tagpose.cli.program import config_folder

NAMES = {verb.replace(" ", "_") for verb in PROGRAMS}
ENTRY_POINT = re.compile(r"^(@program\(|def main\()", re.M)


def test_every_program_has_a_module_a_script_and_a_make_target():
    files = (ROOT / "src/tagpose/cli").glob("*.py")
    modules = {file.stem for file in files if ENTRY_POINT.search(file.read_text())}
    assert modules - {"main"} == NAMES
    assert {file.stem for file in (ROOT / "scripts").glob("*.py")} == NAMES
    recipes = re.findall(r"\$\(TAGPOSE\) (data \w+|\w+)", (ROOT / "Makefile").read_text())
    assert set(recipes) == {*PROGRAMS}


def test_every_program_uses_the_configuration_of_its_name():
    roots = {file.stem for file in config_folder().glob("*.yaml")}
    assert roots == NAMES - {"sweep"}  # which does not use Hydra
    for name in roots:
        text = (ROOT / "src/tagpose/cli" / f"{name}.py").read_text()
        assert f'@program("{name}"' in text


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_command_lists_its_programs(words):
    command = [sys.executable, "-m", "tagpose", *words]
    result = subprocess.run(command, text=True, capture_output=True, check=True)
    assert result.stdout == usage() + "\n"
    assert all(f"  {verb} " in result.stdout for verb in PROGRAMS)


def test_an_unknown_program_is_an_error_in_one_sentence():
    command = [sys.executable, "-m", "tagpose", "data", "upload"]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: unknown command 'data upload'; `tagpose --help` lists them\n"


def test_a_script_and_the_command_run_the_same_program(tmp_path):
    words = ["results=none.json", "ground_truth=none.json"]
    script = run("score", *words, cwd=tmp_path)
    command = [sys.executable, "-m", "tagpose", "score", *words]
    result = subprocess.run(command, text=True, capture_output=True, check=False, cwd=tmp_path)
    assert (script.returncode, script.stderr) == (result.returncode, result.stderr)
    assert "none.json" in result.stderr


def test_the_wheel_contains_the_command_and_the_configuration(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    archive, folder = zipfile.ZipFile(wheel), tmp_path / "site-packages"
    archive.extractall(folder)
    (entry_points,) = folder.glob("*.dist-info/entry_points.txt")
    assert "tagpose = tagpose.cli.main:main" in entry_points.read_text()
    shipped = {
        file.relative_to(folder / "tagpose") for file in folder.rglob("tagpose/conf/**/*.yaml")
    }
    assert shipped == {file.relative_to(ROOT) for file in (ROOT / "conf").rglob("*.yaml")}
    words = ["data", "synthesize", "train=1", "val=1", "image_size=64", "root=drawn"]
    command = [sys.executable, "-m", "tagpose", *words]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert len(list((tmp_path / "drawn").rglob("*.jpg"))) == 2
