"""A resumed run equals an uninterrupted one in data, weights, optimizer state and scores."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint

from helpers.short_training import BATCHES, EPOCHS, configuration, result, train
from tagpose.training.checkpoint_io import AtomicCheckpointIO
from tagpose.training.loggers import ResumableCSVLogger
from tagpose.training.resume_checkpoint import find_latest_checkpoint


class SaveEverywhere(Checkpoint):
    """Save a checkpoint at every point at which callbacks of this project may save."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not is_last and (number + 1) % trainer.accumulate_grad_batches == 0:
            trainer.save_checkpoint(self.folder / f"batch{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, module):
        trainer.save_checkpoint(self.folder / f"epoch{trainer.global_step}.ckpt")


@pytest.fixture(scope="module")
def uninterrupted(people, tmp_path_factory):
    """Return a folder of checkpoints and the result of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return folder, result(*train(configuration(people, folder), SaveEverywhere(folder)))


slow = partial(pytest.param, marks=pytest.mark.slow)
STOPS = [
    *[(stop, 0) for stop in ("batch11", "validation12", "epoch12")],
    ("batch17", 2),
    *[slow(stop, 0) for stop in ("batch2", "epoch6", "batch17")],
    *[slow(stop, 2) for stop in ("batch2", "batch11", "validation12", "epoch6", "epoch12")],
]


@pytest.mark.parametrize(("stop", "workers"), STOPS)
def test_a_resumed_run_equals_an_uninterrupted_one(people, uninterrupted, stop, workers, tmp_path):
    folder, expected = uninterrupted
    cfg = configuration(people, tmp_path, f"data.num_workers={workers}")
    resumed = result(*train(cfg, start=folder / f"{stop}.ckpt"))
    assert resumed.seen == expected.seen[-len(resumed.seen) :]
    steps = int("".join(filter(str.isdigit, stop)))
    batches = [entry for entry in resumed.seen if len(entry) == 3 and isinstance(entry[2], str)]
    assert len(batches) == EPOCHS * BATCHES - steps
    assert resumed.end == expected.end


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_resumed_run_with_accumulated_batches_equals_an_uninterrupted_one(
    people, accumulate, tmp_path
):
    cfg = configuration(people, tmp_path)
    options = {"accumulate_grad_batches": accumulate}
    expected = result(*train(cfg, SaveEverywhere(tmp_path), **options))
    for file in sorted(tmp_path.glob("batch*.ckpt")):
        assert result(*train(cfg, start=file, **options)).end == expected.end, file.name


def test_another_batch_size_resumes_only_from_the_end_of_an_epoch(people, uninterrupted, tmp_path):
    folder, _ = uninterrupted
    cfg = configuration(people, tmp_path, "data.batch_size=3")
    with pytest.raises(ValueError, match=r"'batch_size': 2.*'batch_size': 3"):
        train(cfg, start=folder / "batch11.ckpt")
    trainer, seen = train(cfg, start=folder / "epoch18.ckpt")
    assert trainer.current_epoch == EPOCHS
    assert len(seen) == 4 + 1  # batches and a validation


def test_averaged_weights_cannot_be_resumed_without_averaging(people, uninterrupted, tmp_path):
    folder, _ = uninterrupted
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    with pytest.raises(ValueError, match="callbacks=ema"):
        train(cfg, start=folder / "batch11.ckpt")


def test_another_optimizer_class_cannot_be_resumed(people, uninterrupted, tmp_path):
    folder, _ = uninterrupted
    other = "optimization.optimizer._target_=torch.optim.SGD"
    cfg = configuration(people, tmp_path, other, "~optimization.optimizer.fused")
    with pytest.raises(ValueError, match=r"amsgrad, betas, .* resume with the same optimizer"):
        train(cfg, start=folder / "batch11.ckpt")


def test_a_new_learning_rate_takes_effect_on_resuming(people, uninterrupted, tmp_path):
    folder, expected = uninterrupted
    cfg = configuration(people, tmp_path, "optimization.optimizer.lr=4.0e-3")  # half
    resumed = result(*train(cfg, start=folder / "batch11.ckpt"))
    assert float(resumed.end["rate"]) == pytest.approx(float(expected.end["rate"]) / 2)


def test_the_latest_intact_checkpoint_is_found_and_damaged_ones_are_reported(
    uninterrupted, tmp_path
):
    folder, _ = uninterrupted
    assert find_latest_checkpoint(tmp_path / "nowhere") is None
    for name, file in (("last", "batch17"), ("best", "validation12")):
        shutil.copy(folder / f"{file}.ckpt", tmp_path / f"{name}.ckpt")
    assert find_latest_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    content = bytearray((tmp_path / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "last.ckpt").write_bytes(content)
    message = r"skipped a damaged checkpoint: .*last\.ckpt is not a complete checkpoint"
    with pytest.warns(UserWarning, match=message):
        assert find_latest_checkpoint(tmp_path) == tmp_path / "best.ckpt"
    (tmp_path / "best.ckpt").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="skipped a damaged checkpoint"),
        pytest.raises(ValueError, match=r"all checkpoints in .* are damaged; .* run="),
    ):
        find_latest_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_resumed_metrics_follow_complete_rows(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,x\n0,1,5\n0,2,6\n1,3,7\n1,")
    logger = ResumableCSVLogger(tmp_path)
    logger.discard_rows_from(3)
    logger.log_metrics({"x": 8.0}, step=3)
    logger.save()
    rows = (tmp_path / "metrics.csv").read_text().split()
    assert rows == ["epoch,step,x", "0,1,5", "0,2,6", ",3,8.0"]


def test_the_learning_rate_of_a_run_is_scaled_with_the_batch_size(people, tmp_path):
    rule = ("optimization.lr_scaling.rule=linear", "optimization.lr_scaling.base_batch_size=8")
    short = {"accumulate_grad_batches": 2, "max_epochs": 1}
    trainers = [train(configuration(people, tmp_path, *o), **short)[0] for o in (rule, ())]
    scaled, unscaled = (t.lr_scheduler_configs[0].scheduler.get_last_lr()[0] for t in trainers)
    assert scaled == pytest.approx(unscaled * 4 / 8)


def test_a_moved_run_keeps_its_best_score(people, tmp_path):
    (before := tmp_path / "before").mkdir()
    best = instantiate(configuration(people, before).callbacks.best_checkpoint)
    train(configuration(people, before), best, max_epochs=2)
    now = before.rename(tmp_path / "now")
    moved = instantiate(configuration(people, now).callbacks.best_checkpoint)
    content = AtomicCheckpointIO().load_checkpoint(now / "best.ckpt")
    moved.load_state_dict(content["callbacks"][moved.state_key])
    assert moved.best_model_score == best.best_model_score
    assert Path(moved.best_model_path) == now / "best.ckpt"
    assert list(moved.best_k_models) == [str(now / "best.ckpt")]
    elsewhere = AtomicCheckpointIO().load_checkpoint(now.rename(tmp_path / "x") / "best.ckpt")
    assert elsewhere["callbacks"][moved.state_key]["dirpath"] == str(tmp_path / "x")


def test_a_best_checkpoint_in_another_folder_keeps_its_path(people, tmp_path):
    cfg = configuration(people, tmp_path)
    best = instantiate(cfg.callbacks.best_checkpoint, dirpath=tmp_path / "apart")
    train(cfg, best, max_epochs=2)
    (tmp_path / "run").mkdir()
    last = shutil.copy(tmp_path / "apart/best.ckpt", tmp_path / "run/last.ckpt")
    state = AtomicCheckpointIO().load_checkpoint(last)["callbacks"][best.state_key]
    assert state["dirpath"] == str(tmp_path / "apart")
