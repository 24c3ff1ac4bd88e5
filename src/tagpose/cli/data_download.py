"""Download COCO 2017: tagpose data download [root=FOLDER parts=[val,...]]."""

import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.data.download.coco import (
    Archive,
    count_required_bytes,
    describe_wholebody,
    fetch_archive,
    find_missing,
    lock_dataset,
)
from tagpose.io import check_free_space


@program("data_download")
def main(cfg: DictConfig) -> None:
    """Download the missing parts of COCO, and print what must be downloaded manually."""
    try:
        download(Path(cfg.root), select_archives(cfg), keep=cfg.keep_archives)
    except KeyboardInterrupt:
        print("Interrupted; run the same command to resume", file=sys.stderr)
        raise SystemExit(130) from None  # the exit code of shells after Ctrl-C
    print(f"COCO 2017: {', '.join(cfg.parts)} in {cfg.root}")
    print(describe_wholebody(Path(cfg.root), cfg.manual_downloads))


def select_archives(cfg: DictConfig) -> list[Archive]:
    """Return the archives of the chosen parts."""
    unknown = [part for part in cfg.parts if part not in cfg.archives]
    if unknown:
        raise ValueError(f"unknown part {unknown[0]!r} in parts; use {', '.join(cfg.archives)}")
    return [instantiate(cfg.archives[part], _convert_="object") for part in cfg.parts]


def download(root: Path, archives: list[Archive], *, keep: bool) -> None:
    """Download and unpack missing archives, after a check that all of them fit on the disk.

    Args:
        root: folder of the dataset.
        archives: archives to download.
        keep: whether to keep the archives after they are unpacked.
    """
    with lock_dataset(root):
        missing = [archive for archive in archives if find_missing(root, archive)]
        check_free_space(root, sum(count_required_bytes(root, archive) for archive in missing))
        for archive in missing:
            print(f"downloading {archive.url} ({archive.size / 1e9:.1f} GB)", flush=True)
            fetch_archive(root, archive, keep=keep)
