"""What wandb keeps of a run, read back from its own file."""

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

APS = (0.1, 0.5, 0.3)  # of three epochs
LOSSES = (3.0, 1.0, 2.0)


class Line(LightningModule):
    """The least that can be trained and scored."""

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
    """The records of wandb's file about a run of three epochs."""
    logger = OfflineWandbLogger(folder, "tagpose", **options)
    best = {"monitor": "val/ap/whole", "mode": "max"}
    callbacks = [
        ModelCheckpoint(folder / "kept", name, enable_version_counter=False, **options)
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
        trainer.fit(Line(), DataLoader(images, 2), DataLoader(images, 2))
    wandb.finish()
    return records(one_run(folder))


def one_run(folder):
    """The folder of the one run of wandb that a folder has."""
    (kept,) = (folder / "wandb").glob("offline-run-*")
    return kept


def records(kept):
    """What lies in a run of wandb, by type."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(kept)]
    shown = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    found = {}
    for record in map(json.loads, shown.splitlines()):
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("run"), online=False, log_artifact=True)


def test_the_summary_has_the_best_of_each_score(kept):
    summary = {}
    for record in kept["summary"]:
        summary |= record["update"]
    assert summary["val/ap/whole"] == {"max": pytest.approx(0.5)}
    assert summary["val/loss/total"] == {"min": 1.0}


def test_a_chart_has_every_validation_over_the_steps_of_training(kept):
    rows = [record["item"] for record in kept["history"]]
    assert [row["val/ap/whole"] for row in rows] == pytest.approx(APS)
    assert [row["trainer/global_step"] for row in rows] == [1, 3, 5]
    axes = {record.get("name"): record.get("step_metric") for record in kept["metric"]}
    assert axes["val/ap/whole"] == axes["val/loss/total"] == "trainer/global_step"


def test_the_configuration_is_kept_as_it_is_nested(kept):
    (config,) = (record["update"] for record in kept["config"])
    assert config == {"optimizer": {"lr": 0.1, "_target_": "torch.optim.SGD"}, "input_size": 64}


def test_the_best_checkpoint_and_its_scores_are_the_one_artefact(kept):
    (artifact,) = kept["artifact"]
    assert "best" in artifact["aliases"]
    (file,) = artifact["manifest"]["contents"]
    assert file["path"] == "best.ckpt"
    assert torch.load(file["local_path"], weights_only=True)["epoch"] == 1
    scores = json.loads(artifact["metadata"])
    assert scores == {"val/ap/whole": pytest.approx(0.5), "val/loss/total": 1.0}


def test_a_run_that_goes_on_keeps_its_best_of_before(tmp_path):
    fit(tmp_path, online=False, log_artifact=True)
    logger = OfflineWandbLogger(tmp_path, "tagpose", online=False, log_artifact=True)
    logger.log_metrics({"val/ap/whole": 0.1})  # nothing better comes
    logger.finalize("success")
    wandb.finish()
    (_, again) = sorted((tmp_path / "wandb").glob("offline-run-*"))
    (artifact,) = records(again)["artifact"]
    assert json.loads(artifact["metadata"])["val/ap/whole"] == pytest.approx(0.5)


def test_offline_there_is_no_artefact_unless_asked(tmp_path):
    assert "artifact" not in fit(tmp_path, online=False)


def test_a_run_that_fails_is_kept_as_one_that_failed(people, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(people, root)
    broken = min((root / "val2017").iterdir())
    broken.write_bytes(broken.read_bytes()[:700])
    words = ("experiment=demo_pretrain", f"data.root={root}", "data.num_workers=0", "input_size=64")
    result = run("train", *words, "trainer.accelerator=cpu", "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 1
    (end,) = records(one_run(tmp_path / "run"))["exit"]
    assert end["exit_code"] == 1


def test_where_wandb_lets_nobody_in_the_run_is_kept_offline_and_a_warning_says_why(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.warns(UserWarning, match="kept offline: WANDB_API_KEY invalid"):
        logger = OfflineWandbLogger(tmp_path, "tagpose", online=True)
    assert logger.experiment.offline
    assert not logger.log_artifact
    wandb.finish()


LOGS = """
from tagpose.training.loggers import OfflineWandbLogger
import wandb
logger = OfflineWandbLogger("run", "tagpose", online=False)
logger.log_metrics({"val/ap/body": 0.5}, step=1)
logger.finalize("success")
wandb.finish()
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/proc"])  # there is none, and none that can be written
def test_without_a_home_wandb_is_as_quiet_as_with_one(tmp_path, home):
    # WANDB_SERVICE is the process that writes, of this test's own process
    homes = ("HOME", "XDG_CACHE_HOME", "WANDB_")
    without = {k: v for k, v in os.environ.items() if not k.startswith(homes)}
    without["MPLCONFIGDIR"] = matplotlib.get_configdir()
    environment = without | ({"HOME": home} if home else {})
    program = [sys.executable, "-c", LOGS]
    said = subprocess.run(
        program, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
    )
    assert said.stdout + said.stderr == ""
    assert one_run(tmp_path / "run").is_dir()
    assert list((tmp_path / "run/wandb/cache").rglob("*.log"))
