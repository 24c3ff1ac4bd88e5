"""The wandb logger, checked by reading back the files that it writes."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import pytest
import torch
import wandb
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from helpers.run_scripts import run
from tagpose.training.loggers import OfflineWandbLogger

APS = (0.1, 0.5, 0.3)  # one per epoch
LOSSES = (3.0, 1.0, 2.0)


class LinearModule(LightningModule):
    """Minimal module that can be trained and validated."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/ap/whole", APS[self.current_epoch])
        self.log("val/loss/total", LOSSES[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, **options):
    """Train for three epochs and return the records of the wandb file."""
    logger = OfflineWandbLogger(folder, "tagpose", **options)
    best = {"monitor": "val/ap/whole", "mode": "max"}
    callbacks = [
        ModelCheckpoint(folder / "checkpoints", name, enable_version_counter=False, **options)
        for name, options in (("best", best), ("last", {}))
    ]
    trainer = Trainer(
        max_epochs=3, logger=logger, callbacks=callbacks, accelerator="cpu", num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    images = torch.rand(4, 2)
    logger.log_hyperparams(
        {"optimizer": {"lr": 0.1, "_target_": "torch.optim.SGD"}, "input_size": 64}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The '.*dataloader' does not have many workers")
        trainer.fit(LinearModule(), DataLoader(images, 2), DataLoader(images, 2))
    wandb.finish()
    return read_records(wandb_folder(folder))


def wandb_folder(run_folder):
    """Return the only wandb folder of a run."""
    (folder,) = (run_folder / "wandb").glob("offline-run-*")
    return folder


def read_records(folder):
    """Read the records of a wandb run by type."""
    program = str(Path(sys.executable).with_name("wandb"))
    command = [program, "leet", "inspect", "--json", str(folder)]
    output = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    records = {}
    for record in map(json.loads, output.splitlines()):
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("run"), online=False, log_artifact=True)


def test_the_summary_has_the_best_value_of_each_score(records):
    summary = {}
    for record in records["summary"]:
        summary |= record["update"]
    assert summary["val/ap/whole"] == {"max": pytest.approx(0.5)}
    assert summary["val/loss/total"] == {"min": 1.0}


def test_every_validation_is_logged_over_the_training_steps(records):
    rows = [record["item"] for record in records["history"]]
    assert [row["val/ap/whole"] for row in rows] == pytest.approx(APS)
    assert [row["trainer/global_step"] for row in rows] == [1, 3, 5]
    axes = {record.get("name"): record.get("step_metric") for record in records["metric"]}
    assert axes["val/ap/whole"] == axes["val/loss/total"] == "trainer/global_step"


def test_the_configuration_stays_nested(records):
    (config,) = (record["update"] for record in records["config"])
    assert config == {"optimizer": {"lr": 0.1, "_target_": "torch.optim.SGD"}, "input_size": 64}


def test_the_only_artifact_is_the_best_checkpoint_with_its_scores(records):
    (artifact,) = records["artifact"]
    assert "best" in artifact["aliases"]
    (file,) = artifact["manifest"]["contents"]
    assert file["path"] == "best.ckpt"
    assert torch.load(file["local_path"], weights_only=True)["epoch"] == 1
    scores = json.loads(artifact["metadata"])
    assert scores == {"val/ap/whole": pytest.approx(0.5), "val/loss/total": 1.0}


def test_a_resumed_run_keeps_its_earlier_best_score(tmp_path):
    fit(tmp_path, online=False, log_artifact=True)
    logger = OfflineWandbLogger(tmp_path, "tagpose", online=False, log_artifact=True)
    logger.log_metrics({"val/ap/whole": 0.1})  # worse than before
    logger.finalize("success")
    wandb.finish()
    (_, resumed) = sorted((tmp_path / "wandb").glob("offline-run-*"))
    (artifact,) = read_records(resumed)["artifact"]
    assert json.loads(artifact["metadata"])["val/ap/whole"] == pytest.approx(0.5)


def test_a_resumed_run_keeps_its_id(tmp_path):
    for options in ({"id": "first-run-7"}, {}):
        logger = OfflineWandbLogger(tmp_path, "tagpose", online=False, **options)
        assert logger.experiment.id == "first-run-7"
        wandb.finish()


@pytest.mark.parametrize("exists", [True, False])
def test_the_best_checkpoint_from_before_a_move_and_a_resume_is_the_artifact(tmp_path, exists):
    before, now = tmp_path / "before", tmp_path / "now"
    best = before / "best.ckpt"
    (before / "wandb").mkdir(parents=True)
    scores = {"val/ap/whole": 0.5}
    (before / "wandb/best.json").write_text(json.dumps({"file": str(best), "scores": scores}))
    if exists:
        torch.save({"epoch": 1}, best)
    before.rename(now)
    logger = OfflineWandbLogger(now, "tagpose", online=False, log_artifact=True)
    logger.log_metrics({"val/ap/whole": 0.1})  # worse than before
    if exists:
        logger.finalize("success")
    else:
        with pytest.warns(UserWarning, match=r"best\.ckpt is missing and is not logged to wandb"):
            logger.finalize("success")
    wandb.finish()
    artifacts = read_records(wandb_folder(now)).get("artifact", [])
    assert len(artifacts) == exists
    for artifact in artifacts:
        (file,) = artifact["manifest"]["contents"]
        assert file["local_path"] == str(now / "best.ckpt")
        assert json.loads(artifact["metadata"]) == scores


def test_offline_runs_log_no_artifact_by_default(tmp_path):
    assert "artifact" not in fit(tmp_path, online=False)


def test_a_failed_run_is_recorded_as_failed(people, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(people, root)
    broken = min((root / "val2017").iterdir())
    broken.write_bytes(broken.read_bytes()[:700])
    words = ("experiment=demo_pretrain", f"data.root={root}", "data.num_workers=0", "input_size=64")
    result = run("train", *words, "trainer.accelerator=cpu", "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 1
    (end,) = read_records(wandb_folder(tmp_path / "run"))["exit"]
    assert end["exit_code"] == 1


def test_a_failed_login_causes_a_warning_and_an_offline_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.warns(UserWarning, match="runs offline: WANDB_API_KEY invalid"):
        logger = OfflineWandbLogger(tmp_path, "tagpose", online=True)
    assert logger.experiment.offline
    assert not logger.log_artifact
    wandb.finish()


PROGRAM = """
from tagpose.training.loggers import OfflineWandbLogger
import wandb
logger = OfflineWandbLogger("run", "tagpose", online=False)
logger.log_metrics({"val/ap/body": 0.5}, step=1)
logger.finalize("success")
wandb.finish()
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/proc"])  # missing, and not writable
def test_wandb_prints_nothing_without_a_home_folder(tmp_path, home):
    # WANDB_SERVICE names the service process of this test process
    removed = ("HOME", "XDG_CACHE_HOME", "WANDB_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(removed)}
    environment["MPLCONFIGDIR"] = matplotlib.get_configdir()
    environment |= {"HOME": home} if home else {}
    command = [sys.executable, "-c", PROGRAM]
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
    )
    assert finished.stdout + finished.stderr == ""
    assert wandb_folder(tmp_path / "run").is_dir()
    assert list((tmp_path / "run/wandb/cache").rglob("*.log"))
