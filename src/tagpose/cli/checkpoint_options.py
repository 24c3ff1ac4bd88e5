"""Options of programs that name a checkpoint, or that its network determines."""

from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from tagpose.models.network import ModelSpec
from tagpose.models.zoo import resolve_checkpoint
from tagpose.skeletons.custom import skeleton_to_config

_CHECKPOINT_KEYS: Final = ("checkpoint", "init_from")


def resolve_checkpoints(cfg: DictConfig) -> None:
    """Replace names of published models in a configuration by their files, and download them."""
    for key in _CHECKPOINT_KEYS:
        if key in cfg and not OmegaConf.is_missing(cfg, key) and cfg[key]:
            cfg[key] = str(resolve_checkpoint(cfg[key]))


def check_spec(cfg: DictConfig, spec: ModelSpec) -> None:
    """Raise a ValueError if a checkpoint is not of the configured network, where one is."""
    if cfg.get("model") is None:
        return
    skeleton = instantiate(cfg.skeleton) if cfg.get("skeleton") else spec.skeleton
    expected = spec._replace(architecture=cfg.model.network.architecture, skeleton=skeleton)
    if expected != spec:
        raise ValueError(
            f"{cfg.checkpoint} is a checkpoint of {spec}, expected {expected}; change model= and "
            "skeleton=, or omit them"
        )


def apply_network_settings(cfg: DictConfig, spec: ModelSpec) -> DictConfig:
    """Return the configuration with the checkpoint's skeleton and default input size."""
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.skeleton = skeleton_to_config(spec.skeleton)
        cfg.input_size = cfg.input_size or spec.input_size
    return cfg
