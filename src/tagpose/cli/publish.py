"""Publish weights in MMPose's layout with a model card: tagpose publish checkpoint=FILE."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tagpose.cli.program import program, resolve_checkpoints
from tagpose.models.checkpoint import load_network, write_mmpose_checkpoint
from tagpose.models.model_card import (
    UNKNOWN_ORIGIN,
    WeightsOrigin,
    describe_origin,
    read_metrics,
    render_model_card,
    write_model_card,
)
from tagpose.provenance import fingerprint


@program("publish")
def main(cfg: DictConfig) -> None:
    """Write NAME.pth, NAME.safetensors and NAME.md, without overwriting any."""
    resolve_checkpoints(cfg)
    checkpoint = Path(cfg.checkpoint)
    network = load_network(checkpoint)
    name = cfg.output_name or f"{network.architecture}_{network.skeleton.name}"
    weights = [Path(cfg.output) / f"{name}.{suffix}" for suffix in ("pth", "safetensors")]
    card = Path(cfg.output) / f"{name}.md"
    for file in (*weights, card):
        if file.exists():
            raise FileExistsError(f"{file} exists; remove it, or use another output=FOLDER")
    metrics = None
    if cfg.metrics:
        metrics = read_metrics(Path(cfg.metrics), fingerprint(checkpoint)["sha256"])
    text = render_model_card(name, network, read_origin(checkpoint.parent / ".hydra"), metrics)
    for file in weights:
        write_mmpose_checkpoint(file, network)
        print(f"weights: {file}")
    write_model_card(card, text)
    print(f"model card: {card}" + ("" if metrics else " (without scores; add metrics=FILE)"))


def read_origin(folder: Path) -> WeightsOrigin:
    """Return the origin of weights from the Hydra files of the run that trained them."""
    if not (folder / "hydra.yaml").is_file():
        return UNKNOWN_ORIGIN
    files = ("hydra.yaml", "overrides.yaml", "config.yaml")
    hydra, overrides, config = (OmegaConf.load(folder / file) for file in files)
    choices = OmegaConf.select(hydra, "hydra.runtime.choices")
    return describe_origin(
        choices.data,
        [str(override) for override in overrides],
        OmegaConf.select(config, "init_from"),
    )
