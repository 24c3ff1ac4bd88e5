"""Export a checkpoint to an ONNX bundle that needs no torch: tagpose export checkpoint=FILE."""

from pathlib import Path
from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.data.image_files import list_images
from tagpose.export.bundle import ExportSpec, bundle_name, write_bundle
from tagpose.models.checkpoint import load_network

_CALIBRATION_IMAGES: Final = 32  # maximum; with 8 to 128 images the AP differs by 0.004


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


def find_calibration_images(precision: str, source: str | None) -> list[Path]:
    """Return the images to calibrate int8 with, evenly spaced in the order of their names.

    Args:
        precision: precision of the export; only int8 is calibrated.
        source: path or pattern of the images, or None.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if images are given for another precision, or none for int8.
    """
    if precision != "int8":
        if source:
            raise ValueError(
                f"calibration_images={source} has no effect with precision={precision}; remove it, "
                "or set precision=int8"
            )
        return []
    if not source:
        raise ValueError(
            "precision=int8 is calibrated with images, but calibration_images is missing; set it "
            "to a folder of about 30 images like those of later use"
        )
    files = list_images(source, "calibration_images")
    return files[:: max(1, len(files) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
