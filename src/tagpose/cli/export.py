"""Export a checkpoint to an ONNX bundle that needs no torch: tagpose export checkpoint=FILE."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.program import program, resolve_checkpoints
from tagpose.export.bundle import ExportSpec, write_bundle
from tagpose.models.checkpoint import load_network


@program("export")
def main(cfg: DictConfig) -> None:
    """Write the network, the decoder and an example to a folder."""
    check_exportable(cfg.predictor)
    resolve_checkpoints(cfg)
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
    print(f"bundle: {folder}")


def check_exportable(predictor: DictConfig) -> None:
    """Raise a ValueError for predictor options that a bundle does not support."""
    if list(predictor.scales) != [1] or predictor.precision != "float32":
        raise ValueError(
            f"predictor.scales={list(predictor.scales)} predictor.precision={predictor.precision} "
            "cannot be exported, only a single scale in float32; use predictor.scales=[1] "
            "predictor.precision=float32"
        )
