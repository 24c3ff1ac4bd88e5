"""Learning-rate schedules and scaling."""

import pytest

from tagpose.training.optimization import LRScaling, WarmupCosine, WarmupMultiStep


def test_multistep_schedule_decays_at_epochs_200_and_260_of_300():
    schedule = WarmupMultiStep(warmup_steps=500)
    steps = 300_000
    factors = [schedule(step, steps) for step in (0, 499, 199_999, 200_000, 260_000, 299_999)]
    assert factors == pytest.approx([1 / 500, 1, 1, 0.1, 0.01, 0.01])


def test_cosine_schedule_rises_to_one_and_ends_at_the_minimum():
    schedule = WarmupCosine(warmup_steps=10, min_factor=0.05)
    assert schedule(0, 100) == pytest.approx(0.1)
    assert schedule(10, 100) == pytest.approx(1)
    assert schedule(55, 100) == pytest.approx(0.525)
    assert schedule(100, 100) == schedule(120, 100) == pytest.approx(0.05)


def test_scaling_follows_the_configured_rule():
    assert LRScaling()(24) == 1
    assert LRScaling("linear")(384) == pytest.approx(2)
    assert LRScaling("sqrt")(48) == pytest.approx(0.5)
    assert LRScaling("linear", base_batch_size=24)(24) == 1
    with pytest.raises(ValueError, match="'half'; use one of none, sqrt, linear"):
        LRScaling("half")


def test_a_different_batch_size_causes_a_warning_unless_a_rule_is_chosen():
    assert LRScaling().mismatch_warning(192) is None
    for rule in ("linear", "sqrt"):
        assert LRScaling(rule).mismatch_warning(24) is None
    warning = LRScaling(base_batch_size=128).mismatch_warning(16)
    for part in (
        "has 16 images",
        "for 128",
        "trainer.accumulate_grad_batches",
        "optimization.lr_scaling.rule=linear",
        "optimization.lr_scaling.base_batch_size=16",
    ):
        assert part in warning
