"""Publish weights in MMPose's layout with a model card: tagpose publish checkpoint=FILE."""

from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.models.checkpoint import load_network, write_mmpose_checkpoint
from tagpose.models.model_card import read_metrics, read_origin, render_model_card, write_model_card
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
