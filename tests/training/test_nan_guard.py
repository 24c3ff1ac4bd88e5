"""Numbers that are not finite reach no weight, no checkpoint and no score."""

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.short_training import BATCHES, configuration, result, train
from tagpose.models.checkpoint import read_tensors
from tagpose.training.buffers import BufferSnapshot
from tagpose.training.callbacks.nan_guard import NonFiniteGuard
from tagpose.training.checkpoint_io import AtomicCheckpointIO


class Break(Callback):
    """Breaks the loss of chosen steps, or the gradient of a weight, or the network itself."""

    def __init__(self, *steps, kind="loss"):
        self.steps, self.kind = steps, kind

    def on_train_batch_start(self, trainer, module, batch, number):
        broken = trainer.global_step in self.steps
        criterion = module.criterion
        module.criterion = Broken(criterion, self.kind) if broken else sound(criterion)


class Broken:
    def __init__(self, criterion, kind):
        self.criterion, self.kind = sound(criterion), kind

    def __call__(self, resolutions, targets):
        return self.criterion(resolutions, targets)

    def total(self, terms):
        total = self.criterion.total(terms)
        if self.kind == "loss":
            return total + math.inf
        total.register_hook(lambda gradient: gradient * math.nan)
        return total


def sound(criterion):
    return criterion.criterion if isinstance(criterion, Broken) else criterion


class Compare(Callback):
    """Notes which steps changed nothing of the network."""

    def __init__(self):
        self.unchanged = []

    def on_train_batch_start(self, trainer, module, batch, number):
        self.before = {name: one.clone() for name, one in module.state_dict().items()}

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        after = module.state_dict()
        same = all(torch.equal(one, after[name]) for name, one in self.before.items())
        if same:
            self.unchanged.append(trainer.global_step - 1)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_its_batch_is_kept(people, kind, tmp_path):
    cfg = configuration(people, tmp_path)
    compare = Compare()
    with pytest.warns(UserWarning, match=r"at step 3 \(images \[\d+, \d+\]\); the step was"):
        trainer, _ = train(cfg, Break(3, kind=kind), compare, max_epochs=2)
    assert compare.unchanged == [3]
    assert trainer.current_epoch == 2
    assert float(trainer.callback_metrics["train/skipped_steps"]) == 1
    (file,) = (tmp_path / "skipped_batches").iterdir()
    assert file.name == "step_0000003_rank_0.pt"
    batch = read_tensors(file)
    assert batch["image"].shape == (2, 3, 64, 64)
    moments = trainer.optimizers[0].state_dict()["state"].values()
    assert all(int(one["step"]) == 2 * BATCHES - 1 for one in moments)


def test_a_run_that_diverges_ends_and_says_what_it_saw(people, tmp_path):
    cfg = configuration(people, tmp_path, "callbacks.nan_guard.max_skipped=2")
    with (
        pytest.warns(UserWarning, match="the step was skipped"),
        pytest.raises(RuntimeError, match=r"step 9 .* 3 of the last 10 steps were skipped; their"),
    ):
        train(cfg, Break(2, 5, 9))
    assert len(list((tmp_path / "skipped_batches").iterdir())) == 3


slow = partial(pytest.param, marks=pytest.mark.slow)
FUSED, UNFUSED = (), ("optimization.optimizer.fused=false",)


class Unseen(Callback):
    """Omits the forward and backward passes of chosen steps."""

    def __init__(self, *steps):
        self.steps = steps

    def on_train_batch_start(self, trainer, module, batch, number):
        vars(module).pop("training_step", None)
        if trainer.global_step in self.steps:
            module.training_step = lambda batch, batch_idx: None


without_a_step = pytest.mark.filterwarnings("ignore:.training_step. returned .None.")


@without_a_step
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [("loss", FUSED), ("gradient", UNFUSED), slow("gradient", FUSED), slow("loss", UNFUSED)],
)
def test_a_run_with_a_bad_batch_equals_one_that_never_saw_it(people, kind, overrides, tmp_path):
    cfg = configuration(people, tmp_path, *overrides)
    with pytest.warns(UserWarning, match="the step was skipped"):
        skipped = result(*train(cfg, Break(0, 4, kind=kind), max_epochs=1))
    unseen = result(*train(cfg, Unseen(0, 4), max_epochs=1))
    assert skipped.end == unseen.end


@without_a_step
@pytest.mark.parametrize("optimizer", ["SGD", slow("Adam"), slow("Adagrad")])
def test_every_fused_optimizer_leaves_its_state_unchanged_on_a_bad_step(
    people, optimizer, tmp_path
):
    kind = f"optimization.optimizer._target_=torch.optim.{optimizer}"
    momentum = ("+optimization.optimizer.momentum=0.9",) if optimizer == "SGD" else ()
    cfg = configuration(people, tmp_path, kind, *momentum)
    with pytest.warns(UserWarning, match="the step was skipped"):
        skipped = result(*train(cfg, Break(0, 4, kind="gradient"), max_epochs=1))
    unseen = result(*train(cfg, Unseen(0, 4), max_epochs=1))
    assert skipped.end == unseen.end


@without_a_step
def test_of_accumulated_batches_a_bad_one_skips_the_step_of_all(people, tmp_path):
    cfg = configuration(people, tmp_path)
    with pytest.warns(UserWarning, match=r"at step 2 \(images \[\d+, \d+, \d+, \d+\]\)"):
        skipped = result(*train(cfg, Break(2), max_epochs=2, accumulate_grad_batches=2))
    unseen = result(*train(cfg, Unseen(2), max_epochs=2, accumulate_grad_batches=2))
    assert skipped.end == unseen.end


class CountHostReads(Callback):
    """Counts tensors whose value the host reads between the backward pass and the optimizer's end.

    On a GPU each of them would wait for all kernels that are queued.
    """

    def __init__(self):
        self.reads, self.watch = [], None

    def on_train_start(self, trainer, module):
        (optimizer,) = trainer.optimizers
        optimizer.register_step_post_hook(lambda *_: self.watch.__exit__(None, None, None))

    def on_after_backward(self, trainer, module):
        self.watch = HostReads()
        self.reads.append(self.watch)
        self.watch.__enter__()


class HostReads(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_the_host_reads_no_tensor_between_the_backward_pass_and_the_end_of_a_fused_step(
    people, tmp_path
):
    reads = CountHostReads()
    train(configuration(people, tmp_path), reads, max_epochs=1, gradient_clip_val=1.0)
    first, *others = [one.count for one in reads.reads]
    assert first == 1  # before the optimizer has a state
    assert others == [0] * (BATCHES - 1)


class FoundInf(Callback):
    """Notes whether the optimizer has a flag to skip its next step."""

    def __init__(self):
        self.present = []

    def on_train_batch_start(self, trainer, module, batch, number):
        self.present.append("found_inf" in vars(trainer.optimizers[0]))

    def on_validation_start(self, trainer, module):
        self.present.append("found_inf" in vars(trainer.optimizers[0]))


def test_no_flag_to_skip_stays_on_the_optimizer_after_a_step(people, tmp_path):
    cfg, found = configuration(people, tmp_path), FoundInf()
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(cfg, Break(1, 2), found, max_epochs=2, accumulate_grad_batches=2)
    assert found.present == [False] * len(found.present)


class ExpectedAverage(Callback):
    """Computes the average that a step must leave if it changes nothing of the network."""

    def __init__(self, step):
        self.step, self.same = step, None

    def on_train_batch_start(self, trainer, module, batch, number):
        if trainer.global_step == self.step:
            self.expected = deepcopy(average_of(trainer))
            self.expected.update_parameters(module)

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if trainer.global_step == self.step + 1:
            after = average_of(trainer).state_dict()
            expected = self.expected.state_dict()
            self.same = all(torch.equal(expected[name], after[name]) for name in expected)


def average_of(trainer):
    (ema,) = [one for one in trainer.callbacks if isinstance(one, WeightAveraging)]
    return ema._average_model


def test_the_average_of_the_weights_has_no_statistics_of_a_skipped_step(people, tmp_path):
    average = ExpectedAverage(3)
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(configuration(people, tmp_path), Break(3), average, max_epochs=1)
    assert average.same


def test_an_average_of_the_weights_that_is_listed_before_the_guard_is_refused(people, tmp_path):
    guard = NonFiniteGuard(tmp_path)
    with pytest.raises(ValueError, match="list nan_guard first"):
        train(configuration(people, tmp_path, "~callbacks.nan_guard"), guard)


def test_a_checkpoint_of_a_skipped_step_has_its_count_and_the_buffers_before_it(people, tmp_path):
    cfg = configuration(
        people, tmp_path, "callbacks.resumable_checkpoint.interval_minutes=0", "~callbacks.ema"
    )
    last = instantiate(cfg.callbacks.resumable_checkpoint)
    contents = CheckpointOfEachStep(last.file)
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(cfg, Break(3), last, contents, max_epochs=1)
    before, after = (contents.read[step] for step in (3, 4))
    assert all(torch.equal(t, after["state_dict"][n]) for n, t in before["state_dict"].items())
    states = [one["callbacks"]["NonFiniteGuard"] for one in (before, after)]
    assert [one["total_skipped"] for one in states] == [0, 1]
    assert states[1]["recent"] == [False] * 3 + [True]


class CheckpointOfEachStep(Checkpoint):
    """Reads a checkpoint after each step, as the last callback."""

    def __init__(self, file):
        self.file, self.read = file, {}

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        content = read_tensors(self.file)
        self.read[content["global_step"]] = content


def test_buffers_are_copied_by_one_call_for_each_dtype_and_restored(people, tmp_path):
    network = instantiate(configuration(people, tmp_path).model, _convert_="object").network
    snapshot = BufferSnapshot(network)
    before = [buffer.clone() for buffer in network.buffers()]
    for buffer in network.buffers():
        buffer.add_(1)
    with Calls() as calls:
        snapshot.restore()
    assert calls.names == ["aten._foreach_copy_.default"] * 2
    assert all(map(torch.equal, network.buffers(), before))


class Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class Poison(Checkpoint):
    """Saves a sound network, then one that is not."""

    def __init__(self, folder):
        self.file = folder / "last.ckpt"

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        trainer.save_checkpoint(self.file)
        next(module.parameters()).data[0] = math.nan


def test_weights_that_are_not_finite_overwrite_no_checkpoint(people, tmp_path):
    cfg = configuration(people, tmp_path)
    with (
        pytest.warns(UserWarning, match="the step was skipped"),
        pytest.raises(ValueError, match=r"last\.ckpt is not written, because .*network\.backbone"),
    ):
        train(cfg, Poison(tmp_path))
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 1
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["last.ckpt"]


class Diverged(Callback):
    """Makes a network whose fields are NaN."""

    def on_validation_batch_start(self, trainer, module, batch, number, loader=0):
        module.network.head.bias.data[:] = math.nan


def test_a_network_that_predicts_nan_scores_nothing(people, tmp_path):
    cfg = configuration(people, tmp_path)
    trainer, _ = train(cfg, Diverged(), max_epochs=1, check_val_every_n_epoch=1)
    scores = trainer.callback_metrics
    assert float(scores["val/non_finite_images"]) == 6
    assert float(scores["val/ap/body"]) == float(scores["val/ar/body"]) == 0
