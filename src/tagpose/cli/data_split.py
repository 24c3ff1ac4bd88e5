"""Split an annotation tool's export: tagpose data split source=PATH [val_fraction=0.1 ...]."""

from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.data.annotation_tools.source_dataset import DropLog, SourceDataset, describe_source
from tagpose.data.annotation_tools.source_reader import read_source
from tagpose.data.annotation_tools.train_val_split import assign_splits, write_split
from tagpose.data.safe_unzip import safe_unzip
from tagpose.io import atomic_folder

_ARCHIVE: Final = ".zip"
_UNPACKED: Final = "source"  # folder in the output for the content of an archive


@program("data_split")
def main(cfg: DictConfig) -> None:
    """Write train.json, val.json and the images to a new folder."""
    path = Path(cfg.source)
    output = Path(cfg.output or Path(cfg.paths.data, path.resolve().name.partition(".")[0]))
    log = DropLog()
    with atomic_folder(output, "output=FOLDER") as folder:
        source = read_or_unpack(cfg, path, folder, log)
        print(describe_source(source), *(f"note: {note}" for note in source.notes), sep="\n")
        print(*log.lines(), sep="\n", end="\n" * bool(log.examples))
        assignment = assign_splits(source, cfg.group, cfg.val_fraction, cfg.seed)
        print(f"split: {assignment.reason}")
        written = write_split(source, assignment.splits, folder)
    for split in written:
        file = output / split.file.name
        print(f"{split.split}: {split.images} images, {split.annotations} annotations: {file}")
    print(f"images: {output / 'images'} -> {(output / 'images').resolve()}")
    print(f"next: tagpose data skeleton annotations={output / written[0].file.name}")


def read_or_unpack(cfg: DictConfig, path: Path, folder: Path, log: DropLog) -> SourceDataset:
    """Read the source; unpack it first if it is an archive.

    Args:
        cfg: `conf/data_split.yaml`, composed.
        path: source.
        folder: output folder, which receives the content of an archive.
        log: log of everything that is dropped.
    """
    if path.is_file() and path.suffix.lower() == _ARCHIVE:
        unpacked = folder / _UNPACKED
        unpacked.mkdir()
        for _ in range(safe_unzip(path, unpacked)):
            log.add("files that are neither images nor annotations", path.name)
        path = unpacked
    return read_source(
        path,
        log,
        images=Path(cfg.images) if cfg.images else None,
        category=None if cfg.category is None else str(cfg.category),
        keypoints=cfg.keypoints,
    )
