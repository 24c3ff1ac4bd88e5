"""A run that goes on is the run that was never stopped: data, weights, moments, scores."""

import pytest
from lightning.pytorch.callbacks import Checkpoint

from short_training import BATCHES, EPOCHS, configuration, result, train


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


STOPS = ["batch2", "batch11", "validation12", "epoch6", "epoch12", "batch17"]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_is_the_one_that_was_never_stopped(
    people, never_stopped, stop, workers, tmp_path
):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, f"data.workers={workers}")
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
    with pytest.raises(ValueError, match=r"'images a batch': 2.*'images a batch': 3"):
        train(cfg, start=folder / "batch11.ckpt")
    trainer, seen = train(cfg, start=folder / "epoch18.ckpt")
    assert trainer.current_epoch == EPOCHS
    assert len(seen) == 4 + 1  # batches, a validation


def test_an_average_of_weights_goes_on_as_one_or_not_at_all(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    with pytest.raises(ValueError, match="callbacks=ema"):
        train(cfg, start=folder / "batch11.ckpt")


def test_another_rate_counts_from_where_the_run_goes_on(people, never_stopped, tmp_path):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, "optimization.optimizer.lr=4.0e-3")  # half
    found = result(*train(cfg, start=folder / "batch11.ckpt"))
    assert float(found.end["rate"]) == pytest.approx(float(expected.end["rate"]) / 2)
