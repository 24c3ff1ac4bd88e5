"""Export a network to a bundle that needs no torch: python scripts/export.py checkpoint=FILE."""

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
    """Write the bundle."""
    with told_in_a_sentence():
        check_exportable(cfg.predictor)
        network = load_network(Path(cfg.checkpoint))
        decoder = instantiate(cfg.predictor.decoder, _convert_="object")
        exported = Exported(
            network=network,
            checkpoint=Path(cfg.checkpoint),
            decoder=decoder(network.skeleton, **network.decoder_options),
            side=cfg.side or network.side,
            mirror=cfg.predictor.mirror,
            licence=cfg.licence,
        )
        name = f"{network.architecture}_{network.skeleton.name}_{exported.side}"
        folder = Path(cfg.output) / (cfg.as_name or name)
        difference = write_folder(folder, exported)
        print(f"ONNX and PyTorch differ by {difference:.1e} of the largest output")
        print(f"Bundle written to {folder}")


def check_exportable(predictor: DictConfig) -> None:
    """Raise a ValueError for options of the predictor that a bundle does not support."""
    if list(predictor.scales) != [1] or predictor.precision != "float32":
        raise ValueError(
            f"predictor.scales={list(predictor.scales)} predictor.precision={predictor.precision}: "
            "only a single scale in float32 can be exported; use predictor.scales=[1] "
            "predictor.precision=float32"
        )


if __name__ == "__main__":
    told(main)
