"""Non-finite numbers do not reach weights, checkpoints or scores."""

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


class MakeNonFinite(Callback):
    """Make the loss or the gradient of some steps non-finite."""

    def __init__(self, *steps, kind="loss"):
        self.steps, self.kind = steps, kind

    def on_train_batch_start(self, trainer, module, batch, number):
        criterion = unwrap(module.criterion)
        is_broken = trainer.global_step in self.steps
        module.criterion = NonFiniteLoss(criterion, self.kind) if is_broken else criterion


class NonFiniteLoss:
    """Loss whose value is infinite, or whose gradient is NaN."""

    def __init__(self, criterion, kind):
        self.criterion, self.kind = criterion, kind

    def __call__(self, resolutions, targets):
        return self.criterion(resolutions, targets)

    def total(self, terms):
        total = self.criterion.total(terms)
        if self.kind == "loss":
            return total + math.inf
        total.register_hook(lambda gradient: gradient * math.nan)
        return total


def unwrap(criterion):
    return criterion.criterion if isinstance(criterion, NonFiniteLoss) else criterion


class RecordUnchangedSteps(Callback):
    """Record the steps that leave the network unchanged."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, module, batch, number):
        self.before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        after = module.state_dict()
        if all(torch.equal(tensor, after[name]) for name, tensor in self.before.items()):
            self.steps.append(trainer.global_step - 1)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_non_finite_step_leaves_the_network_unchanged_and_its_batch_is_saved(
    people, kind, tmp_path
):
    cfg = configuration(people, tmp_path)
    unchanged = RecordUnchangedSteps()
    with pytest.warns(UserWarning, match=r"at step 3 \(images \[\d+, \d+\]\); the step was"):
        trainer, _ = train(cfg, MakeNonFinite(3, kind=kind), unchanged, max_epochs=2)
    assert unchanged.steps == [3]
    assert trainer.current_epoch == 2
    assert float(trainer.callback_metrics["train/skipped_steps"]) == 1
    (file,) = (tmp_path / "skipped_batches").iterdir()
    assert file.name == "step_0000003_rank_0.pt"
    batch = read_tensors(file)
    assert batch["image"].shape == (2, 3, 64, 64)
    moments = trainer.optimizers[0].state_dict()["state"].values()
    assert all(int(state["step"]) == 2 * BATCHES - 1 for state in moments)


def test_a_diverging_run_is_stopped_and_its_batches_are_saved(people, tmp_path):
    cfg = configuration(people, tmp_path, "callbacks.nan_guard.max_skipped=2")
    with (
        pytest.warns(UserWarning, match="the step was skipped"),
        pytest.raises(RuntimeError, match=r"step 9 .* 3 of the last 10 steps were skipped; their"),
    ):
        train(cfg, MakeNonFinite(2, 5, 9))
    assert len(list((tmp_path / "skipped_batches").iterdir())) == 3


slow = partial(pytest.param, marks=pytest.mark.slow)
FUSED, UNFUSED = (), ("optimization.optimizer.fused=false",)


class OmitSteps(Callback):
    """Omit the forward and backward passes of some steps."""

    def __init__(self, *steps):
        self.steps = steps

    def on_train_batch_start(self, trainer, module, batch, number):
        vars(module).pop("training_step", None)
        if trainer.global_step in self.steps:
            module.training_step = lambda batch, batch_idx: None


ignore_omitted_steps = pytest.mark.filterwarnings("ignore:.training_step. returned .None.")


@ignore_omitted_steps
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [("loss", FUSED), ("gradient", UNFUSED), slow("gradient", FUSED), slow("loss", UNFUSED)],
)
def test_a_run_with_a_bad_batch_equals_one_without_it(people, kind, overrides, tmp_path):
    cfg = configuration(people, tmp_path, *overrides)
    with pytest.warns(UserWarning, match="the step was skipped"):
        skipped = result(*train(cfg, MakeNonFinite(0, 4, kind=kind), max_epochs=1))
    omitted = result(*train(cfg, OmitSteps(0, 4), max_epochs=1))
    assert skipped.end == omitted.end


@ignore_omitted_steps
@pytest.mark.parametrize("optimizer", ["SGD", slow("Adam"), slow("Adagrad")])
def test_fused_optimizers_keep_their_state_in_a_skipped_step(people, optimizer, tmp_path):
    kind = f"optimization.optimizer._target_=torch.optim.{optimizer}"
    momentum = ("+optimization.optimizer.momentum=0.9",) if optimizer == "SGD" else ()
    cfg = configuration(people, tmp_path, kind, *momentum)
    with pytest.warns(UserWarning, match="the step was skipped"):
        skipped = result(*train(cfg, MakeNonFinite(0, 4, kind="gradient"), max_epochs=1))
    omitted = result(*train(cfg, OmitSteps(0, 4), max_epochs=1))
    assert skipped.end == omitted.end


@ignore_omitted_steps
def test_a_bad_batch_skips_the_step_of_all_accumulated_batches(people, tmp_path):
    cfg = configuration(people, tmp_path)
    with pytest.warns(UserWarning, match=r"at step 2 \(images \[\d+, \d+, \d+, \d+\]\)"):
        skipped = result(*train(cfg, MakeNonFinite(2), max_epochs=2, accumulate_grad_batches=2))
    omitted = result(*train(cfg, OmitSteps(2), max_epochs=2, accumulate_grad_batches=2))
    assert skipped.end == omitted.end


class CountHostReads(Callback):
    """Count host reads of tensors from the backward pass to the end of the optimizer step.

    On a GPU, each of them would wait for all queued kernels.
    """

    def __init__(self):
        self.counters = []

    def on_train_start(self, trainer, module):
        (optimizer,) = trainer.optimizers
        optimizer.register_step_post_hook(lambda *_: self.counters[-1].__exit__(None, None, None))

    def on_after_backward(self, trainer, module):
        self.counters.append(HostReadCounter())
        self.counters[-1].__enter__()


class HostReadCounter(TorchDispatchMode):
    """Count calls of `Tensor.item` and the like."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_fused_steps_need_no_host_reads_after_the_backward_pass(people, tmp_path):
    host_reads = CountHostReads()
    train(configuration(people, tmp_path), host_reads, max_epochs=1, gradient_clip_val=1.0)
    first, *others = [counter.count for counter in host_reads.counters]
    assert first == 1  # the optimizer has no state yet
    assert others == [0] * (BATCHES - 1)


class RecordFlags(Callback):
    """Record whether the optimizer still has a flag to skip its next step."""

    def __init__(self):
        self.present = []

    def on_train_batch_start(self, trainer, module, batch, number):
        self.present.append("found_inf" in vars(trainer.optimizers[0]))

    def on_validation_start(self, trainer, module):
        self.present.append("found_inf" in vars(trainer.optimizers[0]))


def test_the_skip_flag_is_removed_after_each_step(people, tmp_path):
    cfg, flags = configuration(people, tmp_path), RecordFlags()
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(cfg, MakeNonFinite(1, 2), flags, max_epochs=2, accumulate_grad_batches=2)
    assert flags.present == [False] * len(flags.present)


class ExpectedAverage(Callback):
    """Compute the weight average after a step that leaves the network unchanged."""

    def __init__(self, step):
        self.step, self.is_equal = step, None

    def on_train_batch_start(self, trainer, module, batch, number):
        if trainer.global_step == self.step:
            self.expected = deepcopy(average_of(trainer))
            self.expected.update_parameters(module)

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if trainer.global_step == self.step + 1:
            after = average_of(trainer).state_dict()
            expected = self.expected.state_dict()
            self.is_equal = all(torch.equal(expected[name], after[name]) for name in expected)


def average_of(trainer):
    (ema,) = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]
    return ema._average_model


def test_averaged_weights_exclude_batchnorm_statistics_of_skipped_steps(people, tmp_path):
    average = ExpectedAverage(3)
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(configuration(people, tmp_path), MakeNonFinite(3), average, max_epochs=1)
    assert average.is_equal


def test_a_weight_average_listed_before_the_guard_is_an_error(people, tmp_path):
    guard = NonFiniteGuard(tmp_path)
    with pytest.raises(ValueError, match="list nan_guard first"):
        train(configuration(people, tmp_path, "~callbacks.nan_guard"), guard)


def test_a_checkpoint_after_a_skipped_step_has_the_count_and_the_restored_buffers(people, tmp_path):
    cfg = configuration(
        people, tmp_path, "callbacks.resumable_checkpoint.interval_minutes=0", "~callbacks.ema"
    )
    checkpoint = instantiate(cfg.callbacks.resumable_checkpoint)
    reader = ReadCheckpoints(checkpoint.file)
    with pytest.warns(UserWarning, match="the step was skipped"):
        train(cfg, MakeNonFinite(3), checkpoint, reader, max_epochs=1)
    before, after = (reader.contents[step] for step in (3, 4))
    assert all(torch.equal(t, after["state_dict"][n]) for n, t in before["state_dict"].items())
    states = [content["callbacks"]["NonFiniteGuard"] for content in (before, after)]
    assert [state["total_skipped"] for state in states] == [0, 1]
    assert states[1]["recent"] == [False] * 3 + [True]


class ReadCheckpoints(Checkpoint):
    """Read the checkpoint after each step, as the last callback."""

    def __init__(self, file):
        self.file, self.contents = file, {}

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        content = read_tensors(self.file)
        self.contents[content["global_step"]] = content


def test_buffers_are_restored_by_one_call_per_dtype(people, tmp_path):
    network = instantiate(configuration(people, tmp_path).model, _convert_="object").network
    snapshot = BufferSnapshot(network)
    before = [buffer.clone() for buffer in network.buffers()]
    for buffer in network.buffers():
        buffer.add_(1)
    with RecordCalls() as calls:
        snapshot.restore()
    assert calls.names == ["aten._foreach_copy_.default"] * 2
    assert all(map(torch.equal, network.buffers(), before))


class RecordCalls(TorchDispatchMode):
    """Record the names of dispatched operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class SaveNonFinite(Checkpoint):
    """Save a checkpoint after each step, with NaN weights from the second step on."""

    def __init__(self, folder):
        self.file = folder / "last.ckpt"

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        trainer.save_checkpoint(self.file)
        next(module.parameters()).data[0] = math.nan


def test_non_finite_weights_never_overwrite_a_checkpoint(people, tmp_path):
    cfg = configuration(people, tmp_path)
    with (
        pytest.warns(UserWarning, match="the step was skipped"),
        pytest.raises(ValueError, match=r"last\.ckpt is not written, because .*network\.backbone"),
    ):
        train(cfg, SaveNonFinite(tmp_path))
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 1
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["last.ckpt"]


class PredictNan(Callback):
    """Make the network outputs NaN in validations."""

    def on_validation_batch_start(self, trainer, module, batch, number, loader=0):
        module.network.head.bias.data[:] = math.nan


def test_a_network_that_predicts_nan_scores_zero(people, tmp_path):
    cfg = configuration(people, tmp_path)
    trainer, _ = train(cfg, PredictNan(), max_epochs=1, check_val_every_n_epoch=1)
    scores = trainer.callback_metrics
    assert float(scores["val/non_finite_images"]) == 6
    assert float(scores["val/ap/body"]) == float(scores["val/ar/body"]) == 0
