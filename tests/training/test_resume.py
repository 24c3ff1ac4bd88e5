"""A run that goes on is the run that was never stopped: data, weights, moments, scores."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint

from helpers.short_training import BATCHES, EPOCHS, configuration, result, train
from tagpose.training.checkpoint_io import AtomicCheckpointIO, find_latest_checkpoint
from tagpose.training.loggers import ResumableCSVLogger


class SaveAll(Checkpoint):
    """Saves wherever this project's callbacks may."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not last and (number + 1) % trainer.accumulate_grad_batches == 0:
            trainer.save_checkpoint(self.folder / f"batch{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, module):
        trainer.save_checkpoint(self.folder / f"epoch{trainer.global_step}.ckpt")


@pytest.fixture(scope="module")
def never_stopped(people, tmp_path_factory):
    """A run that was never stopped, and a folder of checkpoints from all over it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return folder, result(*train(configuration(people, folder), SaveAll(folder)))


slow = partial(pytest.param, marks=pytest.mark.slow)
STOPS = [
    *[(stop, 0) for stop in ("batch11", "validation12", "epoch12")],
    ("batch17", 2),
    *[slow(stop, 0) for stop in ("batch2", "epoch6", "batch17")],
    *[slow(stop, 2) for stop in ("batch2", "batch11", "validation12", "epoch6", "epoch12")],
]


@pytest.mark.parametrize(("stop", "workers"), STOPS)
def test_a_run_that_goes_on_is_the_one_that_was_never_stopped(
    people, never_stopped, stop, workers, tmp_path
):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, f"data.num_workers={workers}")
    found = result(*train(cfg, start=folder / f"{stop}.ckpt"))
    assert found.seen == expected.seen[-len(found.seen) :]
    steps = int("".join(filter(str.isdigit, stop)))
    assert sum(len(one) == 3 and isinstance(one[2], str) for one in found.seen) == (
        EPOCHS * BATCHES - steps
    )
    assert found.end == expected.end


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_run_with_added_batches_goes_on_as_if_it_was_never_stopped(people, accumulate, tmp_path):
    cfg = configuration(people, tmp_path)
    options = {"accumulate_grad_batches": accumulate}
    expected = result(*train(cfg, SaveAll(tmp_path), **options))
    for file in sorted(tmp_path.glob("batch*.ckpt")):
        assert result(*train(cfg, start=file, **options)).end == expected.end, file.name


def test_another_batch_goes_on_from_an_epochs_end_alone(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    cfg = configuration(people, tmp_path, "data.batch_size=3")
    with pytest.raises(ValueError, match=r"'batch_size': 2.*'batch_size': 3"):
        train(cfg, start=folder / "batch11.ckpt")
    trainer, seen = train(cfg, start=folder / "epoch18.ckpt")
    assert trainer.current_epoch == EPOCHS
    assert len(seen) == 4 + 1  # batches, a validation


def test_an_average_of_weights_goes_on_as_one_or_not_at_all(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    with pytest.raises(ValueError, match="callbacks=ema"):
        train(cfg, start=folder / "batch11.ckpt")


def test_moments_are_of_the_optimiser_that_made_them(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    other = "optimization.optimizer._target_=torch.optim.SGD"
    cfg = configuration(people, tmp_path, other, "~optimization.optimizer.fused")
    with pytest.raises(ValueError, match=r"amsgrad, betas, .* resume goes on with the same kind"):
        train(cfg, start=folder / "batch11.ckpt")


def test_another_rate_counts_from_where_the_run_goes_on(people, never_stopped, tmp_path):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, "optimization.optimizer.lr=4.0e-3")  # half
    found = result(*train(cfg, start=folder / "batch11.ckpt"))
    assert float(found.end["rate"]) == pytest.approx(float(expected.end["rate"]) / 2)


def test_the_newest_whole_checkpoint_is_taken_and_where_none_is_whole_nothing_is(
    never_stopped, tmp_path
):
    folder, _ = never_stopped
    assert find_latest_checkpoint(tmp_path / "nowhere") is None
    for name, file in (("last", "batch17"), ("best", "validation12")):
        shutil.copy(folder / f"{file}.ckpt", tmp_path / f"{name}.ckpt")
    assert find_latest_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    content = bytearray((tmp_path / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.warns(UserWarning, match=r"left aside: .*last\.ckpt is not a complete checkpoint"):
        assert find_latest_checkpoint(tmp_path) == tmp_path / "best.ckpt"
    (tmp_path / "best.ckpt").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="left aside"),
        pytest.raises(ValueError, match=r"none of the checkpoints in .* is whole; another run="),
    ):
        find_latest_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_metrics_go_on_behind_whole_rows(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,x\n0,1,5\n0,2,6\n1,3,7\n1,")
    logger = ResumableCSVLogger(tmp_path)
    logger.discard_rows_from(3)
    logger.log_metrics({"x": 8.0}, step=3)
    logger.save()
    rows = (tmp_path / "metrics.csv").read_text().split()
    assert rows == ["epoch,step,x", "0,1,5", "0,2,6", ",3,8.0"]


def test_a_rate_follows_the_images_of_a_step_of_the_training(people, tmp_path):
    rule = ("optimization.lr_scaling.rule=linear", "optimization.lr_scaling.base_batch_size=8")
    short = {"accumulate_grad_batches": 2, "max_epochs": 1}
    trainer, _ = train(configuration(people, tmp_path, *rule), **short)
    plain, _ = train(configuration(people, tmp_path), **short)
    rates = [one.lr_scheduler_configs[0].scheduler.get_last_lr()[0] for one in (trainer, plain)]
    assert rates[0] == pytest.approx(rates[1] * 4 / 8)


def test_a_run_whose_folder_was_moved_knows_its_best_score(people, tmp_path):
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


def test_best_weights_that_are_kept_elsewhere_stay_there(people, tmp_path):
    cfg = configuration(people, tmp_path)
    best = instantiate(cfg.callbacks.best_checkpoint, dirpath=tmp_path / "apart")
    train(cfg, best, max_epochs=2)
    (tmp_path / "run").mkdir()
    last = shutil.copy(tmp_path / "apart/best.ckpt", tmp_path / "run/last.ckpt")
    state = AtomicCheckpointIO().load_checkpoint(last)["callbacks"][best.state_key]
    assert state["dirpath"] == str(tmp_path / "apart")
