"""Write a folder that finds people without torch: python scripts/export.py checkpoint=FILE."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.model.weights import load_network

with told_in_a_sentence():  # onnxruntime is an extra
    from tagpose.export.description import Exported
    from tagpose.export.folder import write_folder


@hydra.main(version_base="1.3", config_path="../conf", config_name="export")
def main(cfg: DictConfig) -> None:
    """Write the folder, and say where it is."""
    with told_in_a_sentence():
        check_exportable(cfg.predictor)
        network = load_network(Path(cfg.checkpoint))
        decoder = instantiate(cfg.predictor.decoder, _convert_="object")
        exported = Exported(
            network=network,
            checkpoint=Path(cfg.checkpoint),
            decoder=decoder(network.skeleton, subpixel=network.sub_cell),
            side=cfg.side or network.side,
            mirror=cfg.predictor.mirror,
            licence=cfg.licence,
        )
        name = f"{network.architecture}_{network.skeleton.name}_{exported.side}"
        folder = Path(cfg.output) / (cfg.as_name or name)
        apart = write_folder(folder, exported)
        print(f"fields differ from PyTorch's by {apart:.1e} of the largest value at most")
        print(f"exported: {folder}")


def check_exportable(predictor: DictConfig) -> None:
    """Refuse a test that the folder could not do."""
    if list(predictor.scales) != [1] or predictor.precision != "float32":
        raise ValueError(
            f"predictor.scales={list(predictor.scales)} predictor.precision={predictor.precision}: "
            "an exported network looks at one scale in float32"
        )


if __name__ == "__main__":
    told(main)
