"""Fetch what is missing of COCO 2017: tagpose data download [root=FOLDER parts=[val,...]]."""

import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.data.download.coco import (
    Archive,
    count_required_bytes,
    fetch_archive,
    find_missing,
    lock_dataset,
)
from tagpose.data.download.http import check_free_space


@program("data_download")
def main(cfg: DictConfig) -> None:
    """Have the parts on the disk; say what has to be fetched by hand."""
    try:
        complete(Path(cfg.root), chosen(cfg), keep=cfg.keep_archives)
    except KeyboardInterrupt:
        print("stopped: run this again to go on", file=sys.stderr)
        raise SystemExit(130) from None  # as a shell has it for what Ctrl-C ends
    print(f"COCO 2017: {', '.join(cfg.parts)} in {cfg.root}")
    print(by_hand(Path(cfg.root), cfg.manual_downloads))


def chosen(cfg: DictConfig) -> list[Archive]:
    """The archives of the parts."""
    if isinstance(cfg.parts, str):
        raise ValueError(f"parts={cfg.parts} is no list; write parts=[{cfg.parts}]")
    unknown = [part for part in cfg.parts if part not in cfg.archives]
    if unknown:
        raise ValueError(f"parts has {unknown[0]}, which is none of {', '.join(cfg.archives)}")
    return [instantiate(cfg.archives[part], _convert_="object") for part in cfg.parts]


def complete(root: Path, archives: list[Archive], *, keep: bool) -> None:
    """Fetch and unpack what is missing, if there is room for all of it."""
    with lock_dataset(root):
        wanted = [archive for archive in archives if find_missing(root, archive)]
        check_free_space(root, sum(count_required_bytes(root, archive) for archive in wanted))
        for archive in wanted:
            print(f"fetching {archive.url}, {archive.size / 1e9:.1f} GB", flush=True)
            fetch_archive(root, archive, keep=keep)


def by_hand(root: Path, files: list[str]) -> str:
    """Whether the whole-body annotations are there, and if not, what to do."""
    lacking = [root / file for file in files if not (root / file).is_file()]
    if not lacking:
        return f"COCO-WholeBody: annotations in {root}"
    return (
        "COCO-WholeBody: fetch by hand, as its host asks, from "
        "https://github.com/jin-s13/COCO-WholeBody#download (for research and non-commercial use "
        f"only), and save as {' and '.join(map(str, lacking))}; stage two needs it, stage one not"
    )
