"""Write a checkpoint for others to use: python scripts/publish.py checkpoint=FILE."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from tagpose.cli.errors import friendly_errors, run_main
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


@hydra.main(version_base="1.3", config_path="../conf", config_name="publish")
def main(cfg: DictConfig) -> None:
    """Write the weights in the published layout, as a pickle and as safetensors, and their card."""
    with friendly_errors():
        publish(cfg)


def publish(cfg: DictConfig) -> None:
    """Write three files of one name, none over another."""
    checkpoint = Path(cfg.checkpoint)
    network = load_network(checkpoint)
    name = cfg.output_name or f"{network.architecture}_{network.skeleton.name}"
    files = {ending: Path(cfg.output) / f"{name}.{ending}" for ending in ("pth", "safetensors")}
    card = Path(cfg.output) / f"{name}.md"
    for file in (*files.values(), card):
        if file.exists():
            raise FileExistsError(f"{file} is there already; name another output=")
    metrics = None
    if cfg.metrics:
        metrics = read_metrics(Path(cfg.metrics), fingerprint(checkpoint)["sha256"])
    said = render_model_card(name, network, trained(checkpoint.parent / ".hydra"), metrics)
    for file in files.values():
        write_mmpose_checkpoint(file, network)
        print(f"published layout: {file}")
    write_model_card(card, said)
    print(f"model card: {card}" + ("" if metrics else ", without numbers: name metrics=FILE"))


def trained(said: Path) -> WeightsOrigin:
    """Where weights come from, as the configuration beside them says."""
    if not (said / "hydra.yaml").is_file():
        return UNKNOWN_ORIGIN
    files = ("hydra.yaml", "overrides.yaml", "config.yaml")
    composed, overrides, config = (OmegaConf.load(said / file) for file in files)
    choices = OmegaConf.select(composed, "hydra.runtime.choices")
    return describe_origin(
        choices.data, [str(one) for one in overrides], OmegaConf.select(config, "init_from")
    )


if __name__ == "__main__":
    run_main(main)
