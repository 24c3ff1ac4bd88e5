"""Write a checkpoint for others to use: python scripts/publish.py checkpoint=FILE."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.complaints import told_in_a_sentence
from tagpose.model.files import write_published
from tagpose.model.weights import load_network


@hydra.main(version_base="1.3", config_path="../conf", config_name="publish")
def main(cfg: DictConfig) -> None:
    """Write the weights in the published layout, as a pickle and as safetensors."""
    with told_in_a_sentence():
        network = load_network(Path(cfg.checkpoint))
        name = cfg.as_name or f"{network.architecture}_{network.skeleton.name}"
        for ending in ("pth", "safetensors"):
            file = Path(cfg.output) / f"{name}.{ending}"
            if file.exists():
                raise FileExistsError(f"{file} is there already; name another output=")
            write_published(file, network)
            print(f"published layout: {file}")


if __name__ == "__main__":
    main()
