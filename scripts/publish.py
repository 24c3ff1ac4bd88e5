"""Write a checkpoint for others to use: python scripts/publish.py checkpoint=FILE."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from tagpose.complaints import told, told_in_a_sentence
from tagpose.evaluation.provenance import fingerprint
from tagpose.model.card import UNKNOWN, Origin, model_card, origin, read_metrics, write_card
from tagpose.model.files import write_published
from tagpose.model.weights import load_network


@hydra.main(version_base="1.3", config_path="../conf", config_name="publish")
def main(cfg: DictConfig) -> None:
    """Write the weights in the published layout, as a pickle and as safetensors, and their card."""
    with told_in_a_sentence():
        publish(cfg)


def publish(cfg: DictConfig) -> None:
    """Write three files of one name, none over another."""
    checkpoint = Path(cfg.checkpoint)
    network = load_network(checkpoint)
    name = cfg.as_name or f"{network.architecture}_{network.skeleton.name}"
    files = {ending: Path(cfg.output) / f"{name}.{ending}" for ending in ("pth", "safetensors")}
    card = Path(cfg.output) / f"{name}.md"
    for file in (*files.values(), card):
        if file.exists():
            raise FileExistsError(f"{file} is there already; name another output=")
    metrics = None
    if cfg.metrics:
        metrics = read_metrics(Path(cfg.metrics), fingerprint(checkpoint)["sha256"])
    said = model_card(name, network, trained(checkpoint.parent / ".hydra"), metrics)
    for file in files.values():
        write_published(file, network)
        print(f"published layout: {file}")
    write_card(card, said)
    print(f"model card: {card}" + ("" if metrics else ", without numbers: name metrics=FILE"))


def trained(said: Path) -> Origin:
    """Where weights come from, as the configuration beside them says."""
    if not (said / "hydra.yaml").is_file():
        return UNKNOWN
    files = ("hydra.yaml", "overrides.yaml", "config.yaml")
    composed, overrides, config = (OmegaConf.load(said / file) for file in files)
    choices = OmegaConf.select(composed, "hydra.runtime.choices")
    return origin(
        choices.data, [str(one) for one in overrides], OmegaConf.select(config, "init_from")
    )


if __name__ == "__main__":
    told(main)
