"""Configuration: everything composes and can be built, and misspelled keys are errors."""

import inspect
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import instantiate
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from tagpose.cli.errors import format_error
from tagpose.cli.program import quote_override, quote_sweep
from tagpose.codec.decoder import build_decoder
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import BODY
from tagpose.sweeps.search_space import list_overrides, parse_sweep
from tagpose.training.module import BottomUpPoseModule
from tagpose.training.trainer import make_trainer, supports_bf16

CONF = Path(__file__).parents[2] / "conf"
EVALUATIONS = ("published", "published_body")  # experiments of `tagpose evaluate`
EXPERIMENTS = sorted(
    file.stem for file in (CONF / "experiment").glob("*.yaml") if file.stem not in EVALUATIONS
)
FIRST_STAGES = ("pretrain", "demo_pretrain", "overfit")


@pytest.fixture
def compose_config(tmp_path):
    """Return a function that composes a program's configuration with overrides."""

    def compose_config(*overrides, root="train"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(root, list(overrides), return_hydra_config=True)
            cfg.hydra.runtime.output_dir = str(tmp_path)
            HydraConfig.instance().set_config(cfg)
            return cfg

    return compose_config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_be_built(compose_config, experiment, tmp_path):
    small = ("model.network.architecture=hrnet_w18_small", "model.network.pretrained=false")
    cfg = compose_config(f"experiment={experiment}", *small, f"data.root={tmp_path}", "logger=csv")
    model = instantiate(cfg.model, _convert_="object")
    assert isinstance(model, BottomUpPoseModule)
    data = instantiate(cfg.data, _convert_="object")
    assert data.skeleton is model.network.skeleton
    instantiate(cfg.callbacks, _convert_="object")
    instantiate(cfg.trainer, logger=False, _convert_="object")


@pytest.mark.parametrize("ablation", ["recipe", "tags"])
def test_every_variant_of_an_ablation_composes(compose_config, ablation):
    cfg = compose_config(f"ablation={ablation}", root="ablate")
    variants = OmegaConf.to_container(cfg.variants, resolve=True).values()
    stage = [*cfg.finetune_overrides, *cfg.baseline_overrides]
    changes = {(*v.get("both_stages", []), *v.get("train", [])) for v in variants}
    for overrides in changes:
        compose_config(*stage, *overrides)
    for overrides in {tuple(variant.get("test", [])) for variant in variants}:
        compose_config(*cfg.evaluate_overrides, *overrides, root="evaluate")


@pytest.mark.parametrize("root", ["benchmark", "oracle"])
def test_other_programs_can_build_a_model(compose_config, root):
    cfg = compose_config("model=tiny", root=root)
    assert isinstance(instantiate(cfg.model, _convert_="object"), BottomUpPoseModule)


@pytest.mark.parametrize("model", sorted(file.stem for file in (CONF / "model").glob("*.yaml")))
def test_every_model_can_be_built(compose_config, model):
    cfg = compose_config("experiment=pretrain", f"model={model}", "model.network.pretrained=false")
    with torch.device("meta"):  # skips the initialization of weights
        training = instantiate(cfg.model, _convert_="object")
    assert training.network.architecture == cfg.model.network.architecture
    assert len(training.encoders) == len(training.network.strides)


@pytest.mark.parametrize(
    "override",
    [
        "callbacks=ema",
        "callbacks=early_stopping",
        "optimization=cosine",
        "criterion=fast",
        "trainer=cpu",
        "trainer=debug",
        "model=hrnet_w48",
        "trainer.sync_batchnorm=true",
        "trainer.accumulate_grad_batches=4",
        "trainer.gradient_clip_val=1",
        "optimization.lr_scaling.rule=linear",
    ],
)
def test_every_option_composes_with_a_stage(compose_config, override):
    cfg = compose_config("experiment=pretrain", override)
    instantiate(cfg.callbacks, _convert_="object")
    instantiate(cfg.trainer, logger=False, _convert_="object")


@pytest.mark.parametrize(
    "override",
    ["trainer.max_epoch=5", "experiment=finetun", "model=hrnet_w33", "dta.root=x"],
)
def test_a_misspelled_override_is_an_error(compose_config, override):
    experiment = () if override.startswith("experiment") else ("experiment=pretrain",)
    with pytest.raises((HydraException, OmegaConfBaseException)):
        compose_config(*experiment, override)


def test_an_unknown_argument_of_a_class_is_an_error(compose_config):
    cfg = compose_config("experiment=pretrain", "+criterion.pul=1")
    with pytest.raises(HydraException, match="pul"):
        instantiate(cfg.criterion, _convert_="object")


def test_a_key_that_conf_does_not_list_needs_a_plus(compose_config):
    with pytest.raises(HydraException) as error:
        compose_config("experiment=pretrain", "data.repeat=20")
    assert "+data.repeat=VALUE for an argument that conf/ does not list" in format_error(
        error.value
    )
    assert compose_config("experiment=pretrain", "+data.repeat=20").data.repeat == 20


@pytest.mark.parametrize(("input_size", "near"), [(1, 32), (100, 96), (500, 512)])
def test_an_invalid_input_size_is_an_error_that_names_the_nearest_valid_one(
    compose_config, input_size, near
):
    cfg = compose_config("experiment=pretrain", f"input_size={input_size}")
    with pytest.raises(HydraException) as error:
        instantiate(cfg.data, _convert_="object")
    assert f"; use {near}" in format_error(error.value)


def test_stage_two_needs_a_checkpoint_unless_initialized_from_scratch(compose_config):
    assert OmegaConf.is_missing(compose_config("experiment=finetune"), "init_from")
    assert compose_config("experiment=finetune", "init=scratch").init_from is None
    for experiment in FIRST_STAGES:
        assert compose_config(f"experiment={experiment}").init_from is None


def test_the_default_schedule_is_the_published_one(compose_config):
    cfg = compose_config("experiment=finetune", "init_from=x")
    model = cfg.model
    assert (cfg.input_size, cfg.trainer.max_epochs, cfg.data.batch_size) == (512, 300, 24)
    assert model.optimizer.lr == 1.5e-3
    assert (
        model.criterion.pull_weight,
        model.criterion.push_weight,
        model.criterion.foreground_weight,
    ) == (1e-3, 1e-3, 0)
    transforms = cfg.data.transforms
    assert transforms.color.p == transforms.blur.p == 0


def test_empty_maps_are_learned_in_stage_one_only_as_in_mmpose(compose_config):
    for stage, ignores in (("pretrain", False), ("finetune", True)):
        cfg = compose_config(f"experiment={stage}", "init_from=x")
        assert cfg.model.criterion.ignore_empty_maps is ignores


def test_compilation_is_off_by_default(compose_config):
    small = ("model.network.architecture=hrnet_w18_small", "model.network.pretrained=false")
    for compiled in (False, True):
        words = ("model.network.compiled=true",) if compiled else ()
        cfg = compose_config("experiment=pretrain", *small, *words)
        backbone = instantiate(cfg.model, _convert_="object").network.backbone
        assert (backbone._compiled_call_impl is not None) is compiled


@pytest.mark.parametrize("experiment", EVALUATIONS)
def test_an_experiment_of_evaluate_cannot_be_trained(compose_config, experiment):
    with pytest.raises(HydraException, match="predictor"):
        compose_config(f"experiment={experiment}")


def test_the_configured_predictor_has_the_defaults_of_the_class(compose_config):
    cfg = compose_config("checkpoint=x", root="evaluate")
    predictor = instantiate(cfg.predictor, _convert_="object")
    assert predictor.keywords["decoder"](BODY) == build_decoder(BODY)
    parameters = inspect.signature(Predictor).parameters
    for name in (
        "flip_test",
        "multi_scale_tags",
        "fuse_by_size",
        "device",
        "input_size",
        "precision",
        "compiled",
    ):
        assert predictor.keywords[name] == parameters[name].default
    assert tuple(predictor.keywords["scales"]) == parameters["scales"].default


def test_automatic_precision_follows_the_hardware(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for supported in (True, False):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda bf16=supported: {"amx_bf16": bf16})
        assert supports_bf16("cpu") is supported
        assert not supports_bf16("gpu")


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_training_uses_cuda_or_the_cpu_by_default(monkeypatch):
    # MPS has no float64, which affines and running means use
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert isinstance(make_trainer(logger=False).accelerator, CPUAccelerator)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
@example("Zürich (2).jpg")
@example("epoch=3.ckpt")
@example("it's \\'(")
def test_values_that_hydra_cannot_parse_are_quoted_and_others_are_unchanged(value):
    assume("None" not in value)  # becomes null, see below
    word, parser = f"images={value}", OverridesParser.create()
    try:
        parser.parse_override(word)
    except HydraException:
        assume(value[:1] not in tuple("~[{(\"'"))
        assert parser.parse_override(quote_override(word)).value() == value
    else:
        assert quote_override(word) == word


def test_the_home_folder_is_expanded_and_other_words_are_unchanged(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert quote_override("data.root=~/coco") == "data.root='/home/me/coco'"
    for word in (
        "~callbacks.image_logger",
        "--config-dir=ü",
        "--cfg",
        "job",
        "+data.repeat=2",
        "scales=[1,2",
        "--cfg=None",
    ):
        assert quote_override(word) == word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=[seed=1,b.c=x y]", ["seed=1", "b.c=x y"]),
        ("a=[scales=[1,2], ~logger,data=coco]", ["scales=[1,2]", "~logger", "data=coco"]),
        ("a=['seed=1',\"b=2\"]", ["seed=1", "b=2"]),
        ("a=[1,[2,3],x]", [1, [2, 3], "x"]),
        ("a=[]", []),
    ],
)
def test_overrides_in_a_list_need_no_quotes(word, value):
    assert OverridesParser.create().parse_override(quote_override(word)).value() == value


SWEEP = {"program": "a.py", "method": "grid", "metric": {"name": "m"}}


@pytest.mark.parametrize("value", [None, [None, 1], ["None", None, "a"], [[None], "it's None"]])
def test_null_in_a_sweep_file_means_the_same_to_wandb_and_to_tagpose(value):
    args = create_sweep_command_args({"args": {"a.b": {"value": value}}})
    (agent_word,) = args["args_no_hyphens"]
    (overrides,) = list_overrides(parse_sweep(SWEEP | {"parameters": {"a.b": {"value": value}}}))
    for word in (agent_word, f"a.b={overrides['a.b']}"):
        assert OverridesParser.create().parse_override(quote_override(word)).value() == value


@pytest.mark.parametrize(
    "value", ["Rome, 2024.jpg", "it's, a (2)", "range(1,3)", "a,b\\", "Rome, None"]
)
def test_an_override_of_a_single_run_is_never_read_as_a_sweep(value):
    word = quote_override(quote_sweep(f"+images={value}"))  # as the other program reads it
    override = OverridesParser.create().parse_override(word)
    assert override.value() == value
    for word in ("lr=1e-3", "~callbacks.ema", "--cfg=job", "a=[1,2]", "images=it's", "root=a (2)"):
        assert quote_sweep(word) == word


def test_none_in_a_value_that_needs_quotes_is_unchanged():
    assert quote_override("images=a (None).jpg") == "images='a (None).jpg'"


@pytest.mark.parametrize("value", ["runs/None/a", "'None'", "None.ckpt", "a,'None'", "Nones"])
def test_none_inside_a_string_is_unchanged(value):
    assert quote_override(f"a={value}") == f"a={value}"
