"""Options: wrong values of every option of every program are errors before anything slow."""

import math
from functools import cache, partial

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from helpers.run_scripts import run
from tagpose.cli.option_checks import check_options
from tagpose.cli.option_rules import find_rule
from tagpose.cli.option_table import find_rules
from tagpose.cli.program import config_folder
from tagpose.cli.train import check_monitors

PROGRAMS = sorted(file.stem for file in config_folder().glob("*.yaml"))
# configurations with options that the default one lacks
FURTHER = {
    "train": [
        ["experiment=demo_pretrain", "callbacks=ema"],
        ["experiment=overfit", "callbacks=early_stopping", "trainer=debug", "data.root=x"],
        ["experiment=finetune", "init_from=x", "trainer=ddp", "optimization=cosine"],
    ],
    "evaluate": [[], ["experiment=published", "model=hrnet_w32"]],
    "reproduce": [[], ["experiment=smoke"]],
    "tune": [["logger=wandb"]],
}
WRONG = [
    "", "no such value", True, None, -1, 0, 1.5, 1e30, 10**30, math.nan, math.inf, -math.inf,
    [], [1, "x"], [math.nan], ["no such value", "x"], {"a": 1},
]  # fmt: skip


@cache
def configurations(program):
    """Return the configurations of a program, with the missing options set."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = [
            compose(program, overrides, return_hydra_config=True)
            for overrides in FURTHER.get(program, [[]])
        ]
    for cfg in composed:
        cfg.hydra.runtime.output_dir = "run"
        fill_missing(cfg)
    return composed


def fill_missing(cfg):
    for key in [key for key in cfg if OmegaConf.is_missing(cfg, key)]:
        cfg[key] = "x"


def activate(cfg):
    """Make a configuration that of the running program, and return it without Hydra's part."""
    HydraConfig.instance().set_config(cfg)
    plain = cfg.copy()
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def options(cfg, prefix=""):
    """Yield the keys and values of all options; other nodes are groups and references to groups."""
    for name in cfg:
        try:
            value = cfg[name]
        except InterpolationKeyError:  # to the skeleton, which is that of the checkpoint
            continue
        if isinstance(value, DictConfig):
            if not OmegaConf.is_interpolation(cfg, name):
                yield from options(value, f"{prefix}{name}.")
        elif name not in ("_target_", "_partial_"):
            plain = OmegaConf.to_container(value) if isinstance(value, ListConfig) else value
            yield f"{prefix}{name}", plain


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_a_rule_and_its_configured_value_is_valid(program):
    for cfg in configurations(program):
        plain = activate(cfg)
        assert [key for key, _ in options(plain) if not find_rule(key, find_rules(program))] == []
        check_options(program, plain)


def accepted_values(is_wrong):
    """Return the options and wrong values that a program accepts; check the errors of all others.

    Args:
        is_wrong: returns whether a value is wrong for an option with a configured value.
    """
    accepted = set()
    for program in PROGRAMS:
        for cfg in configurations(program):
            for key, configured in options(activate(cfg)):
                rule = find_rule(key, find_rules(program))
                for wrong in filter(partial(is_wrong, configured), WRONG):
                    if rule.accepts(wrong):
                        accepted.add((key, repr(wrong)))
                        continue
                    with pytest.raises(ValueError, match="is invalid; use ") as error:
                        rule.check(key, wrong)
                    assert str(error.value).startswith(f"{key}=")
                    assert "\n" not in str(error.value)
    return accepted


# numbers for texts are converted, and numbers of a type for the other if they are in range
ALSO_NULL = {
    "callbacks.best_checkpoint.monitor", "callbacks.early_stopping.monitor",
    "callbacks.part_ap.max_people", "checkpoint", "init_from", "logger.wandb.group",
    "optimization.optimizer.fused", "predictor.decoder.max_people", "predictor.device",
    "predictor.input_size", "port", "synthesize", "input_size", "trainer.check_val_every_n_epoch",
}  # fmt: skip
ALSO_NUMBERS = {"data.transforms.blur.sigma_limit", "data.transforms.color."}  # symmetric ranges
ALSO_TEXTS = {"model.network.pretrained", "split"}
ZERO_TO_ONE = {
    "callbacks.ema.decay", "data.transforms.blur.p", "data.transforms.color.p",
    "data.transforms.crop.flip_prob", "min_keypoint_score", "min_person_score",
    "val_fraction", "video.min_keypoint_score",
    "video.min_track_score", "video.smoothing.min_keypoint_score",
}  # fmt: skip


def is_of_another_type(configured, wrong):
    numbers = {int, float}
    same = {type(configured), type(wrong)} <= numbers or type(wrong) is type(configured)
    is_text = isinstance(configured, str) and type(wrong) in numbers
    return configured is not None and not same and not is_text


def test_values_of_another_type_are_errors_that_name_the_option():
    accepted = accepted_values(is_of_another_type)
    assert {key for key, wrong in accepted if wrong == "None"} == ALSO_NULL
    others = {(key, wrong) for key, wrong in accepted if wrong != "None"}
    assert {key for key, _ in others if not key.startswith(tuple(ALSO_NUMBERS | ALSO_TEXTS))} <= {
        "trainer.fast_dev_run"  # a number of batches
    }


def test_numbers_that_are_not_finite_or_huge_or_negative_are_errors():
    def is_extreme(configured, wrong):
        is_number = type(configured) in (int, float) and type(wrong) in (int, float)
        return is_number and (wrong < 0 or wrong > 1e20 or math.isnan(wrong))

    assert accepted_values(is_extreme) == {("trainer.devices", "-1"), ("trainer.max_epochs", "-1")}


def test_scores_and_probabilities_above_one_are_errors():
    accepted = {key for key, wrong in accepted_values(lambda _, wrong: wrong == 1.5)}
    assert not accepted & ZERO_TO_ONE


def test_nan_an_empty_text_and_a_dictionary_are_never_valid():
    def is_meaningless(_, wrong):
        return wrong in ("", {"a": 1}) or wrong != wrong

    assert accepted_values(is_meaningless) == {("launcher", "''")}


@pytest.mark.parametrize("group", ["trainer", "data.transforms.crop", "callbacks.ema", "logger"])
def test_a_value_for_a_group_of_options_is_an_error(group):
    plain = activate(configurations("train")[0])
    OmegaConf.update(plain, group, None, merge=False)
    with pytest.raises(ValueError, match=rf"{group}=null is invalid, as {group} is a group"):
        check_options("train", plain)


@pytest.mark.parametrize(("key", "value"), [("max_issues", -1), ("stride", 0)])
def test_a_number_below_the_range_of_its_option_is_an_error(key, value):
    plain = activate(configurations("data_check")[0])
    plain[key] = value
    with pytest.raises(ValueError, match=f"{key}={value} is invalid; use an integer from"):
        check_options("data_check", plain)


def test_numbers_become_texts_where_texts_are_expected():
    plain = activate(configurations("evaluate")[0])
    plain.output = 2024
    check_options("evaluate", plain)
    assert plain.output == "2024"


def test_an_output_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    plain = activate(configurations("report")[0])
    plain.output = str(tmp_path / "file/report")
    with pytest.raises(ValueError, match=r"output=.*report is invalid, as .*file is a file"):
        check_options("report", plain)


MONITORS = ["monitor=val/ap/hand", "monitor=abc", "callbacks.early_stopping.monitor=val/ap/bdy"]


@pytest.mark.parametrize("override", MONITORS)
def test_a_metric_that_no_callback_logs_cannot_be_monitored(override):
    words = ["experiment=demo_pretrain", "callbacks=early_stopping"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        valid, wrong = (compose("train", [*words, *more]) for more in ([], [override]))
        custom = compose("train", [*words, override, "+callbacks.mine._target_=mine.Callback"])
    check_monitors(valid)
    check_monitors(custom)  # may log it
    name = override.partition("=")[2]
    with pytest.raises(ValueError, match=f"monitor={name} is not logged .* val/ap/body, "):
        check_monitors(wrong)


@pytest.mark.parametrize("project", ["a/b", "a b?", "x" * 129])
def test_a_project_name_that_wandb_refuses_is_an_error(project):
    rule = find_rule("logger.wandb.project", find_rules("train"))
    with pytest.raises(ValueError, match="is invalid; use a text of 1 to 128 characters without"):
        rule.check("logger.wandb.project", project)


@pytest.mark.parametrize(
    ("program", "argument"),
    [("data_synthesize", "max_people=many"), ("score", "results=[a]"), ("demo", "input_size=0")],
)
def test_a_program_with_an_invalid_option_ends_with_one_sentence_and_writes_nothing(
    tmp_path, program, argument
):
    result = run(program, argument, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {argument.partition('=')[0]}=")
    assert len(result.stderr.splitlines()) == 1
    assert [file for file in tmp_path.rglob("*") if file.suffix != ".log" and file.is_file()] == []
