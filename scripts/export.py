"""Export a network to a bundle that needs no torch: python scripts/export.py checkpoint=FILE."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.errors import friendly_errors, run_main
from tagpose.models.checkpoint import load_network

with friendly_errors():  # onnxruntime is an extra
    from tagpose.export.bundle import write_bundle
    from tagpose.export.bundle_metadata import ExportSpec


@hydra.main(version_base="1.3", config_path="../conf", config_name="export")
def main(cfg: DictConfig) -> None:
    """Write the bundle."""
    with friendly_errors():
        check_exportable(cfg.predictor)
        network = load_network(Path(cfg.checkpoint))
        decoder = instantiate(cfg.predictor.decoder, _convert_="object")
        spec = ExportSpec(
            network=network,
            checkpoint=Path(cfg.checkpoint),
            decoder=decoder(network.skeleton, **network.decoder_options),
            input_size=cfg.input_size or network.input_size,
            flip_test=cfg.predictor.flip_test,
            license=cfg.license,
        )
        name = f"{network.architecture}_{network.skeleton.name}_{spec.input_size}"
        folder = Path(cfg.output) / (cfg.output_name or name)
        difference = write_bundle(folder, spec)
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
    run_main(main)
