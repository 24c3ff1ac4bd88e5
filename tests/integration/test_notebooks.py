"""The notebooks, run from top to bottom as a reader runs them; they are kept without outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY

FILES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
ASKING = [file for file in FILES if "TAGPOSE_CHECKPOINT" in file.read_text(encoding="utf-8")]
UNTRAINED = "made from the ground truth"  # what they say who ask no network


def stem(file):
    return file.stem


def run(notebook, folder, **environment):
    """Run a notebook in a folder, to its end."""
    plain = {"IPYTHONDIR": str(folder), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    unset = {"TAGPOSE_CHECKPOINT": "", "TAGPOSE_DATA": ""}
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, resources=place, allow_errors=True)
    client.execute(env=os.environ | unset | plain | environment)


def outputs(cells):
    """All that cells put out, without an error and without a word on stderr."""
    every = [output for cell in cells for output in cell.get("outputs", [])]
    wrong = [one for one in every if one.output_type == "error" or one.get("name") == "stderr"]
    assert wrong == []
    return str(every)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The cells of every notebook, run in one kernel, as most of their time is its start."""
    fresh = "%reset -f\n%cd -q {}"
    every, cells = nbformat.v4.new_notebook(), {}
    for file in FILES:
        start = nbformat.v4.new_code_cell(fresh.format(tmp_path_factory.mktemp(file.stem)))
        cells[file] = [start, *nbformat.read(file, as_version=4).cells]
        every.cells += cells[file]
    run(every, tmp_path_factory.mktemp("kernel"))
    return cells


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_is_valid_and_kept_without_outputs(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_draws_its_own_people_and_says_what_it_shows(file, shown):
    put_out = outputs(shown[file])
    assert "synthetic data" in put_out
    assert "image/png" in put_out
    assert (UNTRAINED in put_out) == (file in ASKING)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hrnet_w18_small", "higherhrnet_w18_small"])
@pytest.mark.parametrize("file", ASKING, ids=stem)
def test_a_notebook_that_asks_a_network_names_it(file, architecture, people, tmp_path):
    checkpoint = tmp_path / "untrained.ckpt"
    write_checkpoint(checkpoint, PoseNetwork(architecture, BODY, input_size=192))
    notebook = nbformat.read(file, as_version=4)
    run(notebook, tmp_path, TAGPOSE_DATA=str(people), TAGPOSE_CHECKPOINT=str(checkpoint))
    put_out = outputs(notebook.cells)
    assert str(checkpoint) in put_out
    assert UNTRAINED not in put_out
