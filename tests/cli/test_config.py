"""Every experiment composes and can be built; what is misspelt is refused."""

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

from tagpose.cli.errors import format_error, quote_override
from tagpose.codec.decoder import build_decoder
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import BODY
from tagpose.sweeps import list_overrides, parse_sweep
from tagpose.training.module import BottomUpPoseModule
from tagpose.training.trainer import make_trainer, supports_bf16

CONF = Path(__file__).parents[2] / "conf"
TESTS = ("published", "published_body")  # experiments of the evaluation
EXPERIMENTS = sorted(
    file.stem for file in (CONF / "experiment").glob("*.yaml") if file.stem not in TESTS
)
FIRST_STAGES = ("pretrain", "demo_pretrain", "overfit")


@pytest.fixture
def composed(tmp_path):
    """Compose the root of training with overrides."""

    def composed(*overrides, root="train"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(root, list(overrides), return_hydra_config=True)
            cfg.hydra.runtime.output_dir = str(tmp_path)
            HydraConfig.instance().set_config(cfg)
            return cfg

    return composed


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_be_built(composed, experiment, tmp_path):
    small = ("model.network.architecture=hrnet_w18_small", "model.network.pretrained=false")
    cfg = composed(f"experiment={experiment}", *small, f"data.root={tmp_path}", "logger=csv")
    model = instantiate(cfg.model, _convert_="object")
    assert isinstance(model, BottomUpPoseModule)
    data = instantiate(cfg.data, _convert_="object")
    assert data.skeleton is model.network.skeleton
    instantiate(cfg.callbacks, _convert_="object")
    instantiate(cfg.trainer, logger=False, _convert_="object")


def test_what_every_lever_of_an_ablation_asks_for_is_there(composed):
    cfg = composed(root="ablate")
    variants = OmegaConf.to_container(cfg.variants, resolve=True).values()
    for variant in variants:
        composed(*cfg.finetune_overrides, *cfg.baseline_overrides, *variant.get("train", []))
        composed(*cfg.evaluate_overrides, *variant.get("test", []), root="evaluate")


@pytest.mark.parametrize("root", ["benchmark", "oracle"])
def test_whatever_builds_a_model_has_all_that_it_is_made_of(composed, root):
    cfg = composed("model=tiny", root=root)
    assert isinstance(instantiate(cfg.model, _convert_="object"), BottomUpPoseModule)


@pytest.mark.parametrize("model", sorted(file.stem for file in (CONF / "model").glob("*.yaml")))
def test_every_model_can_be_built(composed, model):
    cfg = composed("experiment=pretrain", f"model={model}", "model.network.pretrained=false")
    with torch.device("meta"):  # without the time to draw weights
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
def test_every_option_composes_with_a_stage(composed, override):
    cfg = composed("experiment=pretrain", override)
    instantiate(cfg.callbacks, _convert_="object")
    instantiate(cfg.trainer, logger=False, _convert_="object")


@pytest.mark.parametrize(
    "override",
    ["trainer.max_epoch=5", "experiment=finetun", "model=hrnet_w33", "dta.root=x"],
)
def test_a_misspelt_override_is_refused(composed, override):
    named = () if override.startswith("experiment") else ("experiment=pretrain",)
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed(*named, override)


def test_a_key_that_nothing_takes_is_refused(composed):
    cfg = composed("experiment=pretrain", "+criterion.pul=1")
    with pytest.raises(HydraException, match="pul"):
        instantiate(cfg.criterion, _convert_="object")


def test_what_only_the_code_knows_is_named_with_the_plus_that_adds_it(composed):
    with pytest.raises(HydraException) as refused:
        composed("experiment=pretrain", "data.repeat=20")
    assert "+data.repeat=VALUE adds what only the code knows" in format_error(refused.value)
    assert composed("experiment=pretrain", "+data.repeat=20").data.repeat == 20


@pytest.mark.parametrize(("input_size", "near"), [(1, 32), (100, 96), (500, 512)])
def test_a_side_that_the_network_cannot_divide_is_refused_with_one_that_it_can(
    composed, input_size, near
):
    cfg = composed("experiment=pretrain", f"input_size={input_size}")
    with pytest.raises(HydraException) as refused:
        instantiate(cfg.data, _convert_="object")
    assert f"; use {near}" in format_error(refused.value)


def test_stage_two_needs_weights_unless_told(composed):
    assert OmegaConf.is_missing(composed("experiment=finetune"), "init_from")
    assert composed("experiment=finetune", "init=scratch").init_from is None
    for experiment in FIRST_STAGES:
        assert composed(f"experiment={experiment}").init_from is None


def test_the_published_recipe_is_the_default(composed):
    cfg = composed("experiment=finetune", "init_from=x")
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


def test_maps_of_what_nobody_has_are_learned_in_stage_one_alone_as_published(composed):
    for stage, skips in (("pretrain", False), ("finetune", True)):
        cfg = composed(f"experiment={stage}", "init_from=x")
        assert cfg.model.criterion.ignore_empty_maps is skips


def test_compilation_is_an_option_of_training_and_off(composed):
    small = ("model.network.architecture=hrnet_w18_small", "model.network.pretrained=false")
    for compiled in (False, True):
        words = ("model.network.compiled=true",) if compiled else ()
        cfg = composed("experiment=pretrain", *small, *words)
        backbone = instantiate(cfg.model, _convert_="object").network.backbone
        assert (backbone._compiled_call_impl is not None) is compiled


@pytest.mark.parametrize("experiment", TESTS)
def test_an_experiment_of_the_evaluation_trains_nothing(composed, experiment):
    with pytest.raises(HydraException, match="predictor"):
        composed(f"experiment={experiment}")


def test_the_predictor_of_the_configuration_is_the_published_one(composed):
    cfg = composed("checkpoint=x", root="evaluate")
    predictor = instantiate(cfg.predictor, _convert_="object")
    assert predictor.keywords["decoder"](BODY) == build_decoder(BODY)
    given = inspect.signature(Predictor).parameters
    for name in (
        "flip_test",
        "multi_scale_tags",
        "fuse_by_size",
        "device",
        "input_size",
        "precision",
        "compiled",
    ):
        assert predictor.keywords[name] == given[name].default
    assert tuple(predictor.keywords["scales"]) == given["scales"].default


def test_automatic_precision_follows_the_hardware(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for there in (True, False):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda there=there: {"amx_bf16": there})
        assert supports_bf16("cpu") is there
        assert not supports_bf16("gpu")


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_a_training_takes_cuda_or_the_cpu_where_nothing_else_is_told(monkeypatch):
    # an Apple's GPU has no float64, which frames and means are of
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert isinstance(make_trainer(logger=False).accelerator, CPUAccelerator)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
@example("Zürich (2).jpg")
@example("epoch=3.ckpt")
@example("it's \\'(")
def test_what_hydra_cannot_read_arrives_as_it_stands_and_what_it_can_stays(value):
    assume("None" not in value)  # null, as the next test states
    word, parser = f"images={value}", OverridesParser.create()
    try:
        parser.parse_override(word)
    except HydraException:
        assume(value[:1] not in tuple("~[{(\"'"))
        assert parser.parse_override(quote_override(word)).value() == value
    else:
        assert quote_override(word) == word


def test_a_home_is_found_and_what_is_no_override_stays(monkeypatch):
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


TRIED = {"program": "a.py", "method": "grid", "metric": {"name": "m"}}


@pytest.mark.parametrize("value", [None, [None, 1], ["None", None, "a"], [[None], "it's None"]])
def test_null_means_the_same_however_a_sweep_is_run(value):
    """What `wandb agent` makes of the value of a sweep file is what `make sweep` makes of it."""
    args = create_sweep_command_args({"args": {"a.b": {"value": value}}})
    (of_agent,) = args["args_no_hyphens"]
    (told,) = list_overrides(parse_sweep(TRIED | {"parameters": {"a.b": {"value": value}}}))
    for word in (of_agent, f"a.b={told['a.b']}"):
        assert OverridesParser.create().parse_override(quote_override(word)).value() == value


@pytest.mark.parametrize("value", ["runs/None/a", "'None'", "None.ckpt", "a,'None'", "Nones"])
def test_none_within_a_text_stays(value):
    assert quote_override(f"a={value}") == f"a={value}"
