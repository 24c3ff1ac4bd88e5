"""Export a checkpoint to an ONNX bundle that needs no torch: tagpose export checkpoint=FILE."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.export.bundle import ExportSpec, bundle_name, write_bundle
from tagpose.export.precision import find_calibration_images
from tagpose.models.checkpoint import load_network


@program("export")
def main(cfg: DictConfig) -> None:
    """Write the network, the decoder and an example to a folder."""
    check_exportable(cfg)
    calibration_images = find_calibration_images(cfg.precision, cfg.calibration_images)
    resolve_checkpoints(cfg)
    network = load_network(Path(cfg.checkpoint))
    decoder = instantiate(cfg.predictor.decoder, _convert_="object")
    spec = ExportSpec(
        network=network,
        checkpoint=Path(cfg.checkpoint),
        decoder=decoder(network.skeleton, **network.decoder_options),
        input_size=min(cfg.static_shape or [cfg.input_size or network.input_size]),
        flip_test=cfg.predictor.flip_test,
        license=cfg.license,
        static_shape=tuple(cfg.static_shape) if cfg.static_shape else None,
        precision=cfg.precision,
        calibration_images=calibration_images,
    )
    folder = Path(cfg.output) / (cfg.output_name or bundle_name(spec))
    difference = write_bundle(folder, spec)
    print(f"ONNX and PyTorch differ by {difference:.1e} of the largest output for random pixels")
    print(f"bundle: {folder}")


def check_exportable(cfg: DictConfig) -> None:
    """Raise a ValueError for options that a bundle does not support, alone or together."""
    predictor = cfg.predictor
    if list(predictor.scales) != [1] or predictor.precision != "float32":
        raise ValueError(
            f"predictor.scales={list(predictor.scales)} predictor.precision={predictor.precision} "
            "cannot be exported; use predictor.scales=[1] predictor.precision=float32, and "
            "precision=float16 for an exported network in float16"
        )
    if cfg.static_shape and cfg.input_size:
        raise ValueError(
            f"input_size={cfg.input_size} and static_shape={list(cfg.static_shape)} both set the "
            "size of the input; remove one of them"
        )
