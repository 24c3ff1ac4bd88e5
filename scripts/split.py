"""Divide an annotation tool's export: python scripts/split.py source=PATH [fraction=0.1 ...]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.annotation_tools.records import DropLog, Source
from tagpose.data.annotation_tools.sources import read_source
from tagpose.data.annotation_tools.split_files import (
    count_lines,
    divide,
    new_folder,
    write_split,
)
from tagpose.data.annotation_tools.unpacking import unpack

_ARCHIVE = ".zip"
_UNPACKED = "source"  # folder in the output that an archive is unpacked into


@hydra.main(version_base="1.3", config_path="../conf", config_name="split")
def main(cfg: DictConfig) -> None:
    """Write train.json and val.json next to a link to the images, and print the next command."""
    with told_in_a_sentence():
        split(cfg)


def split(cfg: DictConfig) -> None:
    """Divide what the configuration names."""
    path = Path(cfg.source)
    output = Path(cfg.output or Path(cfg.paths.data, path.resolve().name.partition(".")[0]))
    log = DropLog()
    with new_folder(output) as folder:
        source = read(cfg, path, folder, log)
        print(count_lines(source), *(f"note: {note}" for note in source.notes), sep="\n")
        print(*log.lines(), sep="\n", end="\n" * bool(log.examples))
        division = divide(source, cfg.group, cfg.fraction, cfg.seed)
        print(f"divided: {division.reason}")
        written = write_split(source, division.splits, folder)
    for one in written:
        file = output / one.file.name
        print(f"{one.split}: {one.images} images, {one.annotations} annotations: {file}")
    print(f"images: {output / 'images'} -> {(output / 'images').resolve()}")
    print(f"next: make skeleton annotations={output / written[0].file.name}")


def read(cfg: DictConfig, path: Path, folder: Path, log: DropLog) -> Source:
    """Read the source, unpacked if it is an archive."""
    if path.is_file() and path.suffix.lower() == _ARCHIVE:
        unpacked = folder / _UNPACKED
        unpacked.mkdir()
        for _ in range(unpack(path, unpacked)):
            log.add("files that are neither images nor annotations", path.name)
        path = unpacked
    return read_source(
        path,
        log,
        images=Path(cfg.images) if cfg.images else None,
        category=None if cfg.category is None else str(cfg.category),
        keypoints=cfg.keypoints,
    )


if __name__ == "__main__":
    told(main)
