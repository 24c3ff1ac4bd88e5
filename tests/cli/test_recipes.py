"""Recipes: options as in the table of docs/recipes.md, for every model and both stages."""

import re
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

ROOT = Path(__file__).parents[2]
MODELS = ("hrnet_w32", "hrnet_w48", "higherhrnet_w32", "higherhrnet_w48")
STAGES = ("pretrain", "finetune")
RECIPES = ("mmpose", "tagpose")
TABLE = re.findall(
    r"^\| `([\w.]+)`( in \w+(?: one)?)? \| (.+?) \| (.+?) \| (.+?) \|$",
    (ROOT / "docs/recipes.md").read_text(encoding="utf-8"),
    re.M,
)


def compose_config(root, *words):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(root, list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def cell_value(cell, model):
    """Return the value of a table cell for the width of a model, or for all models."""
    values = {width: value for value, width in re.findall(r"`([^`]+)`(?: \((w\d\d)\))?", cell)}
    return values.get(model[-3:]) or values[""]


def table_rows(recipe, *scopes):
    column = 2 + RECIPES.index(recipe)
    return [(row[0], row[column]) for row in TABLE if row[1] in scopes]


def test_the_table_cites_a_source_for_every_value():
    assert len(TABLE) >= 17
    assert all(source.strip() for *_, source in TABLE)
    assert {scope for _, scope, *_ in TABLE} == {"", " in evaluation", " in stage one"}


@pytest.mark.parametrize(
    ("recipe", "model", "stage"),
    [
        *product(["mmpose"], MODELS, STAGES),
        ("tagpose", "hrnet_w32", "pretrain"),
        ("tagpose", "higherhrnet_w48", "finetune"),
    ],
)
def test_a_recipe_sets_the_training_options_of_the_table(recipe, model, stage):
    scopes = ("", " in stage one") if stage == "pretrain" else ("",)
    words = (f"experiment={stage}", f"model={model}", f"recipe={recipe}", "init_from=x")
    cfg = compose_config("train", *words)
    for option, cell in table_rows(recipe, *scopes):
        assert OmegaConf.select(cfg, option) == parse_value(cell_value(cell, model)), option
    assert cfg.model.network.pretrained is False or stage == "pretrain"
    assert 8 * cfg.data.batch_size == cfg.optimization.lr_scaling.base_batch_size


def parse_value(text):
    """Return the value of a YAML scalar."""
    return OmegaConf.create(f"value: {text}").value


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_sets_the_evaluation_options_of_the_table(recipe):
    cfg = compose_config("evaluate", f"recipe={recipe}", "checkpoint=x")
    for option, cell in table_rows(recipe, " in evaluation"):
        assert OmegaConf.select(cfg, option) == parse_value(cell_value(cell, "hrnet_w32")), option


def test_the_default_recipe_is_tagpose():
    for words in (["train", "experiment=pretrain"], ["evaluate", "checkpoint=x"]):
        now = "paths.now=x"
        assert compose_config(*words, now) == compose_config(*words, now, "recipe=tagpose")


def test_experiments_and_overrides_take_precedence_over_the_recipe():
    demo = compose_config("train", "experiment=demo_pretrain", "recipe=mmpose")
    assert demo.trainer.check_val_every_n_epoch == 2
    assert demo.model.network.pretrained is False  # MMPose has no weights for its network
    assert demo.model.network.subpixel is False
    words = ("trainer.precision=16-mixed", "model.network.pretrained=x.pth", "data.batch_size=2")
    cfg = compose_config("train", "experiment=pretrain", "recipe=mmpose", "model=hrnet_w48", *words)
    assert cfg.trainer.precision == "16-mixed"
    assert cfg.model.network.pretrained == "x.pth"
    assert cfg.data.batch_size == 2
    assert compose_config(
        "evaluate", "checkpoint=x", "recipe=mmpose", "per_part_scores=true"
    ).per_part_scores


@pytest.mark.parametrize("experiment", ["demo_finetune", "overfit"])
def test_the_learning_rate_of_a_short_experiment_fits_its_batch_size(experiment):
    cfg = compose_config("train", f"experiment={experiment}", "data.root=x", "init_from=x")
    accumulated = cfg.trainer.accumulate_grad_batches
    assert (
        cfg.trainer.devices * cfg.data.batch_size * accumulated
        == cfg.optimization.lr_scaling.base_batch_size
    )
