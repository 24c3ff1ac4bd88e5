"""The notebooks are committed with outputs and run from top to bottom.

Update the outputs with `.venv/bin/jupyter execute --inplace notebooks/*.ipynb` in a checkout
without `data/synthetic` and without a checkpoint.
"""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.run_scripts import ROOT, run_file, succeeded
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
WITH_NETWORK = [file for file in FILES if "TAGPOSE_CHECKPOINT" in file.read_text(encoding="utf-8")]
NO_CHECKPOINT = "made from the ground truth"  # source that is printed without a checkpoint
MAX_BYTES = 1_000_000


def stem(file):
    return file.stem


def run(notebook, folder, **environment):
    """Run all cells of a notebook in a folder."""
    defaults = {"IPYTHONDIR": str(folder), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    unset = {"TAGPOSE_CHECKPOINT": "", "TAGPOSE_DATA": ""}
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, resources=resources, allow_errors=True)
    client.execute(env=os.environ | unset | defaults | environment)


def read_outputs(cells):
    """Return all outputs of cells as text; check that there are no errors and warnings."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
    return str(outputs)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Outputs of all notebooks, executed without a kernel because starting it takes long."""
    folder = tmp_path_factory.mktemp("executed")
    program = ROOT / "tests/programs/execute_notebooks.py"
    unset = {"TAGPOSE_CHECKPOINT": "", "TAGPOSE_DATA": "", "IPYTHONDIR": str(folder)}
    words = [str(word) for word in (program, folder / "outputs.json", *FILES)]
    succeeded(run_file(*words, cwd=folder, TMPDIR=str(folder), **unset))
    return json.loads((folder / "outputs.json").read_text())


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_is_committed_with_the_outputs_of_one_run(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = read_outputs(code)
    assert "synthetic data" in outputs
    assert "image/png" in outputs
    assert str(Path.home()) not in outputs
    assert file.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_without_data_and_checkpoint_shows_synthetic_people(file, executed):
    cells = executed[str(file)]
    assert [cell for cell in cells if cell["stderr"] or cell["error"] != "''"] == []
    assert_shows_synthetic_people(file, str(cells))


def assert_shows_synthetic_people(file, outputs):
    assert "synthetic data" in outputs
    assert "image/png" in outputs
    assert (NO_CHECKPOINT in outputs) == (file in WITH_NETWORK)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_notebook_runs_in_a_kernel_without_data_and_checkpoint(file, tmp_path):
    notebook = nbformat.read(file, as_version=4)
    run(notebook, tmp_path)
    assert_shows_synthetic_people(file, read_outputs(notebook.cells))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hrnet_w18_small", "higherhrnet_w18_small"])
@pytest.mark.parametrize("file", WITH_NETWORK, ids=stem)
def test_a_notebook_with_a_checkpoint_prints_its_path(file, architecture, people, tmp_path):
    checkpoint = tmp_path / "untrained.ckpt"
    write_checkpoint(checkpoint, PoseNetwork(architecture, BODY, input_size=192))
    notebook = nbformat.read(file, as_version=4)
    run(notebook, tmp_path, TAGPOSE_DATA=str(people), TAGPOSE_CHECKPOINT=str(checkpoint))
    outputs = read_outputs(notebook.cells)
    assert str(checkpoint) in outputs
    assert NO_CHECKPOINT not in outputs
