"""Convert an MMPose checkpoint: tagpose convert checkpoint=FILE."""

from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.models.checkpoint import load_network, write_checkpoint


@program("convert")
def main(cfg: DictConfig) -> None:
    """Write a checkpoint of this project, and print a summary of the network."""
    resolve_checkpoints(cfg)
    file = Path(cfg.checkpoint)
    network = load_network(file)
    target = Path(cfg.output) / f"{file.stem}.ckpt"
    if target.exists():
        raise FileExistsError(f"{target} exists; remove it, or use another output=FOLDER")
    write_checkpoint(target, network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    keypoints = network.skeleton.size
    print(
        f"{file}: {network.architecture}, skeleton {network.skeleton.name} ({keypoints} "
        f"keypoints), {parameters:,} parameters in {len(network.state_dict())} tensors"
    )
    print(f"checkpoint: {target}")
