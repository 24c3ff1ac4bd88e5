"""Online wandb runs, sweeps and agents, checked by what they send to a local server."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import yaml

from helpers.interrupted_training import PROGRAMS, at_step
from helpers.run_scripts import PLAIN, ROOT, run, succeeded
from helpers.wandb_server import ENTITY, run_wandb_server
from tagpose.data.images import load_image

SWEEP = ROOT / "conf/sweep/demo.yaml"
STEPS = 6  # of an epoch of 12 images


def small_training(people):
    """Return the options of a short training run in addition to those of the sweep."""
    return {
        "experiment": "demo_pretrain", "data.root": str(people), "data.batch_size": 2,
        "data.num_workers": 0, "input_size": 64, "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1, "trainer.check_val_every_n_epoch": 1,
        "+trainer.log_every_n_steps": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server, to which all wandb runs of this module are sent."""
    with run_wandb_server() as server, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)  # set by earlier tests, such as WANDB_SERVICE
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", "0" * 40)
        patch.setenv("MPLCONFIGDIR", matplotlib.get_configdir())
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # has no credentials
        yield server


def run_wandb(*words, cwd, **environment):
    """Run the command wandb and return its output."""
    program = str(Path(sys.executable).with_name("wandb"))
    finished = subprocess.run(
        [program, *words], cwd=cwd, env=os.environ | PLAIN | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def register_sweep(server, file, cwd):
    """Register a sweep with `wandb sweep` and return its id and the output."""
    before = set(server.sweeps)
    output = run_wandb("sweep", str(file), cwd=cwd)
    (sweep_id,) = set(server.sweeps) - before
    return sweep_id, output


def assert_all_metrics_uploaded(stored, folder):
    """Assert that a run on the server has each row of its CSV file once."""
    with (folder / "metrics.csv").open(newline="") as stream:
        logged = list(csv.DictReader(stream))
    assert {"val/ap/body", "train/loss/total"} <= logged[0].keys()
    for row in logged:
        uploaded = [r for r in stored.history if r["trainer/global_step"] == int(row["step"])]
        for name, value in row.items():
            if value and name not in ("step", "epoch"):
                values = [r[name] for r in uploaded if name in r]
                assert values == [pytest.approx(float(value))], name


def uploaded_config(stored):
    """Return the configuration of a run on the server."""
    return {name: node["value"] for name, node in stored.config.items() if name != "_wandb"}


@pytest.fixture(scope="module")
def online_run(server, people, tmp_path_factory):
    """Train online and return the id of the run and its folder."""
    cwd, before = tmp_path_factory.mktemp("online"), set(server.runs)
    words = [f"{name}={value}" for name, value in small_training(people).items()]
    succeeded(run("train", *words, "logger.wandb.online=true", "run=first", cwd=cwd))
    (run_id,) = set(server.runs) - before
    return run_id, cwd / "runs/demo_pretrain/first"


@pytest.mark.slow
def test_an_online_run_uploads_all_metrics_and_the_configuration(server, online_run):
    run_id, folder = online_run
    stored = server.runs[run_id]
    assert stored.exit_code == 0
    assert stored.project == "tagpose"
    assert_all_metrics_uploaded(stored, folder)
    written = yaml.safe_load((folder / ".hydra/config.yaml").read_text())
    assert uploaded_config(stored) == written


@pytest.mark.slow
def test_an_online_run_uploads_validation_images_at_the_step_of_their_scores(server, online_run):
    run_id, folder = online_run
    history = server.runs[run_id].history
    (image_row,) = (row for row in history if "val/images" in row)
    (score_row,) = (row for row in history if "val/ap/body" in row)
    assert image_row["trainer/global_step"] == score_row["trainer/global_step"]
    (name,) = image_row["val/images"]["filenames"]
    (file,) = (folder / "validation_images").iterdir()
    uploaded = server.uploads[f"{run_id}/{name}"]
    assert load_image(uploaded).shape == load_image(file).shape


@pytest.mark.slow
def test_an_online_run_uploads_the_best_checkpoint_as_an_artifact(server, online_run):
    run_id, folder = online_run
    (artifact,) = (artifact for artifact in server.artifacts if artifact["runName"] == run_id)
    assert "best" in [alias["alias"] for alias in artifact["aliases"]]
    assert server.uploads[f"{run_id}-artifact/best.ckpt"] == (folder / "best.ckpt").read_bytes()
    scores = json.loads(artifact["metadata"])
    assert server.runs[run_id].summary["val/ap/body"] == {"max": scores["val/ap/body"]}


def test_a_sweep_is_registered_in_the_project_of_the_runs(server, tmp_path):
    sweep_id, output = register_sweep(server, SWEEP, tmp_path)
    assert f"wandb agent {ENTITY}/tagpose/{sweep_id}" in output
    assert server.sweeps[sweep_id] == yaml.safe_load(SWEEP.read_text())


@pytest.fixture(scope="module")
def sweep_run(server, people, tmp_path_factory):
    """Train with an agent; the server restarts the run after SIGTERM; an option of it is null."""
    cwd = tmp_path_factory.mktemp("agent")
    (cwd / ".venv").symlink_to(sys.prefix)
    interruption = dict(word.split("=") for word in at_step("Signal", step=2, number=15))
    options = small_training(people) | interruption | {"callbacks.part_ap.max_people": None}
    sweep = yaml.safe_load(SWEEP.read_text())
    sweep["parameters"] |= {name: {"value": value} for name, value in options.items()}
    (cwd / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    sweep_id, _ = register_sweep(server, "sweep.yaml", cwd)
    words = ("agent", "--count", "2", f"{ENTITY}/tagpose/{sweep_id}")
    output = run_wandb(*words, cwd=cwd, **PROGRAMS)
    (run_id,) = (name for name, stored in server.runs.items() if stored.sweep == sweep_id)
    return run_id, cwd / "runs/demo_pretrain" / run_id, output


@pytest.mark.slow
def test_an_agent_trains_with_the_values_of_the_server(server, sweep_run):
    run_id, _, output = sweep_run
    stored = server.runs[run_id]
    assert stored.exit_code == 0, output
    config = uploaded_config(stored)
    assert config["optimization"]["optimizer"]["lr"] == 4.0e-3
    assert config["criterion"]["push_weight"] == 2.0e-2
    assert config["callbacks"]["part_ap"]["max_people"] is None
    assert "max" in stored.summary["val/ap/body"]


@pytest.mark.slow
def test_a_run_of_a_sweep_that_an_agent_restarts_resumes(server, sweep_run):
    run_id, folder, output = sweep_run
    assert f"stopped at step 2; resume with resume={folder}/last.ckpt" in output
    assert f"Resuming from {folder}/last.ckpt" in output
    stored = server.runs[run_id]
    assert_all_metrics_uploaded(stored, folder)
    steps = {row["trainer/global_step"] for row in stored.history if "train/loss/total" in row}
    # the signal stopped the run before Lightning logged the metrics of step 1
    assert steps == {0, *range(2, STEPS)}
