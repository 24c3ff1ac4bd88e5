"""Score a checkpoint: python scripts/evaluate.py checkpoint=FILE [data=... key=value ...]."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from tagpose.allocation import keep_freed_memory
from tagpose.codec.decoder import build_decoder
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.archives import alone
from tagpose.data.dataset import read_record
from tagpose.data.download import fetch
from tagpose.data.images import write_image
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.drawing.sheets import contact_sheet, side_by_side
from tagpose.evaluation.claims import NO_CLAIMS
from tagpose.evaluation.part_ap import Scores, part_scores
from tagpose.evaluation.provenance import fingerprint, versions
from tagpose.evaluation.published import Published, differences, published_row
from tagpose.evaluation.ranking import part_ranks
from tagpose.evaluation.rows import Row, from_rows, to_rows, write_json, write_rows
from tagpose.evaluation.table import comparison, numbers, table
from tagpose.evaluation.truth import Truth, read_truth
from tagpose.inference.search import find_people
from tagpose.model.network import Facts
from tagpose.model.weights import load_network
from tagpose.output import print_tables
from tagpose.own_skeleton import node
from tagpose.skeleton import Skeleton
from tagpose.structures import SIDE, People, Record


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Print the table; write the people found and the numbers."""
    keep_freed_memory()
    with told_in_a_sentence():
        if cfg.published:
            reproduce(cfg)
        else:
            evaluate(cfg)


def reproduce(cfg: DictConfig) -> None:
    """Score a published checkpoint, and end with an error where a number is another one."""
    if cfg.get("model") is None:
        raise ValueError("whose published results are meant? name it by model=hrnet_w32 or another")
    test = cfg.predictor
    if (test.side, test.mirror, test.precision) != (SIDE, True, "float32"):
        raise ValueError(
            f"the published test has side={SIDE} predictor.mirror=true"
            " predictor.precision=float32; leave them so"
        )
    skeleton = instantiate(cfg.skeleton)
    published = build_decoder(skeleton, max_people=None)
    if test.every_tag or test.by_size or instantiate(test.decoder)(skeleton) != published:
        raise ValueError(
            "the published test has none of the options of scales and of predictor.decoder; leave "
            "them as conf/predictor/published.yaml has them"
        )
    row = published_row(
        cfg.model.network.architecture, cfg.skeleton.name, tuple(cfg.predictor.scales)
    )
    data = instantiate(cfg.data, _convert_="object")
    data.check_there([data.val_split])  # before a long download
    cfg.checkpoint = cfg.checkpoint or str(fetched(row, Path(cfg.paths.data) / "published"))
    compared = differences(row, evaluate(cfg))
    print_tables(comparison(compared, f"{row.architecture}, published at {row.url}"))
    write_json(Path(cfg.output) / "published.json", [one._asdict() for one in compared])
    off = [f"{one.part} {one.number}" for one in compared if one.off]
    if off:
        raise ValueError(
            f"{', '.join(off)} differ from what was published for {row.architecture}; compare the "
            f"versions and files in {cfg.output}/metrics.json with those of a run that agrees"
        )


def fetched(row: Published, folder: Path) -> Path:
    """The published checkpoint, downloaded where it is not there yet."""
    file = folder / row.url.rpartition("/")[2]
    with alone(folder):
        fetch(row.url, file, checksum=f"sha256:{row.checksum}")
    return file


def evaluate(cfg: DictConfig) -> dict[str, Scores]:
    """Score what the configuration describes."""
    made_with, network = versions(), load_network(Path(cfg.checkpoint))
    check_meant(cfg, network.facts)
    cfg = of_network(cfg, network.facts)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    truth = read_truth(data.truth_file, network.skeleton, data.options)
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    loader = data.view_loader(predictor.side, predictor.scales)
    found = find_people(predictor, loader)
    output = Path(cfg.output)
    scores, ranked = judged(truth, found, network.skeleton, output, by_part=cfg.by_part)
    title = f"{data.description}: {len(truth.image_ids)} images"
    said = report(cfg, title, scores, data.truth_file, made_with)
    write_json(output / "metrics.json", said | {"ranked_by_part": numbers(ranked)})
    annotations = data.opened[data.val_split]
    records = [annotations.record(i) for i in range(min(cfg.pictures, len(annotations)))]
    if records:
        show = partial(
            draw_people,
            skeleton=network.skeleton,
            min_score=cfg.min_keypoint_score,
            min_person_score=cfg.min_person_score,
        )
        write_pictures(output, records, found, network.skeleton, show)
    print_tables(table(scores, title))
    if len(ranked) > 1:
        print_tables(table(ranked, "the same, parts ranked by scores of their own"))
    print(f"results: {output}")
    return scores


def judged(
    truth: Truth, found: dict[int, People], skeleton: Skeleton, output: Path, *, by_part: bool
) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Scores with parts ranked as their persons, and by themselves; one of them is written."""
    rows = rows_of(found, skeleton, by_part=False)
    write_rows(output / "results.json", rows_of(found, skeleton, by_part=True) if by_part else rows)
    people = from_rows(rows, skeleton)  # what the file says is what is scored: rounded
    ranks = {image_id: part_ranks(found[image_id], skeleton) for image_id in people}
    own = NO_CLAIMS._replace(scores=ranks)
    return part_scores(truth, people, skeleton), part_scores(truth, people, skeleton, own)


def rows_of(found: dict[int, People], skeleton: Skeleton, *, by_part: bool) -> list[Row]:
    """Rows of the official result format of all images."""
    return [
        row
        for image_id, people in found.items()
        for row in to_rows(image_id, people, skeleton, by_part=by_part)
    ]


def of_network(cfg: DictConfig, facts: Facts) -> DictConfig:
    """The configuration with the checkpoint's own skeleton, and its side where none is named."""
    own = cfg.copy()
    with open_dict(own):
        own.skeleton, own.side = node(facts.skeleton), cfg.side or facts.side
    return own


def check_meant(cfg: DictConfig, facts: Facts) -> None:
    """See that a checkpoint is of the network that was named, where one was."""
    if cfg.get("model") is None:
        return
    skeleton = instantiate(cfg.skeleton) if cfg.get("skeleton") else facts.skeleton
    meant = facts._replace(architecture=cfg.model.network.architecture, skeleton=skeleton)
    if meant != facts:
        raise ValueError(
            f"{cfg.checkpoint} is of {facts}, not of {meant}; name its own by model= and skeleton=,"
            " or leave them out"
        )


def report(
    cfg: DictConfig, title: str, scores: dict[str, Scores], truth: Path, made_with: dict[str, str]
) -> dict[str, Any]:
    """The scores, and what they come from."""
    return {
        "title": title,
        "parts": numbers(scores),
        "checkpoint": fingerprint(Path(cfg.checkpoint)),
        "annotations": fingerprint(truth),
        "test": OmegaConf.to_container(cfg.predictor, resolve=True),
        "versions": made_with,
    }


def write_pictures(
    output: Path,
    records: list[Record],
    found: dict[int, People],
    skeleton: Skeleton,
    show: Callable[[np.ndarray, People], np.ndarray],
) -> None:
    """A picture of each record, and people.png with all: the truth, who was found beside it."""
    drawn = []
    for record in records:
        image = read_record(record)
        pair = (
            draw_truth(image, record.keypoints, skeleton),
            show(image, found[record.image_id]),
        )
        drawn.append(pair)
        picture = side_by_side(pair, ("truth", "found"))
        write_image(output / "pictures" / f"{record.file.stem}.png", picture)
    across = 3
    rows = [
        side_by_side([p for pair in some for p in pair], ("truth", "found") * len(some))
        for some in (drawn[i : i + across] for i in range(0, len(drawn), across))
    ]
    write_image(output / "people.png", contact_sheet(rows))


if __name__ == "__main__":
    told(main)
