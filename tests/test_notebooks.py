"""The notebooks, run from top to bottom as a reader runs them; they are kept without outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tagpose.model.files import write_checkpoint
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import BODY

FILES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ASKING = [file for file in FILES if "TAGPOSE_CHECKPOINT" in file.read_text(encoding="utf-8")]
UNTRAINED = "made from the truth"  # what they say who ask no network


def stem(file):
    return file.stem


def run(file, folder, **environment):
    """Run a notebook in a folder, without a word on stderr; all that its cells put out."""
    plain = {"IPYTHONDIR": str(folder), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    unset = {"TAGPOSE_CHECKPOINT": "", "TAGPOSE_DATA": ""}
    notebook = nbformat.read(file, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, resources=place)
    client.execute(env=os.environ | unset | plain | environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    return str(outputs)


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_is_valid_and_kept_without_outputs(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_draws_its_own_people_and_says_what_it_shows(file, tmp_path):
    shown = run(file, tmp_path)
    assert "synthetic data" in shown
    assert "image/png" in shown
    assert (UNTRAINED in shown) == (file in ASKING)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hrnet_w18_small", "higherhrnet_w18_small"])
@pytest.mark.parametrize("file", ASKING, ids=stem)
def test_a_notebook_that_asks_a_network_names_it(file, architecture, people, tmp_path):
    checkpoint = tmp_path / "untrained.ckpt"
    write_checkpoint(checkpoint, PoseNetwork(architecture, BODY, side=192))
    shown = run(file, tmp_path, TAGPOSE_DATA=str(people), TAGPOSE_CHECKPOINT=str(checkpoint))
    assert str(checkpoint) in shown
    assert UNTRAINED not in shown
