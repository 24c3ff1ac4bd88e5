"""Import a published checkpoint: tagpose convert checkpoint=FILE."""

from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.transfer import load_network


@program("convert")
def main(cfg: DictConfig) -> None:
    """Write FILE.ckpt, and say what was found in it."""
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
