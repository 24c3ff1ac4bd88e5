"""Import a published checkpoint: python scripts/import_weights.py checkpoint=FILE."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.cli.errors import friendly_errors, run_main
from tagpose.models.checkpoint import load_network, write_checkpoint


@hydra.main(version_base="1.3", config_path="../conf", config_name="import_weights")
def main(cfg: DictConfig) -> None:
    """Write FILE.ckpt, and say what was found in it."""
    with friendly_errors():
        file = Path(cfg.checkpoint)
        network = load_network(file)
        written = Path(cfg.output) / f"{file.stem}.ckpt"
        if written.exists():
            raise FileExistsError(f"{written} is there already; remove it, or name another output=")
        write_checkpoint(written, network)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        keypoints = network.skeleton.size
        print(
            f"{file}: {network.architecture}, skeleton {network.skeleton.name} ({keypoints} "
            f"keypoints), {parameters:,} parameters in {len(network.state_dict())} tensors"
        )
        print(f"checkpoint: {written}")


if __name__ == "__main__":
    run_main(main)
