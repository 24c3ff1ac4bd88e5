"""Draft a skeleton from a COCO file: tagpose data skeleton annotations=FILE [key=value]."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from omegaconf import DictConfig

from tagpose.cli.program import config_folder, is_installed, program
from tagpose.data.annotation_tools.coco_reader import load_coco_json
from tagpose.data.annotation_tools.config_writer import (
    NO_VAL_LINE,
    SplitPaths,
    format_data_yaml,
    format_skeleton_yaml,
)
from tagpose.data.annotation_tools.example_images import choose_examples
from tagpose.data.annotation_tools.image_folder_search import find_image_folder
from tagpose.data.annotation_tools.skeleton_draft import (
    SkeletonDraft,
    custom_skeleton_arguments,
    draft_skeleton,
    official_skeleton,
    to_identifier,
)
from tagpose.data.annotation_tools.source_dataset import (
    Row,
    choose_category,
    is_in_category,
    keypoint_names,
)
from tagpose.data.image_files import write_image
from tagpose.io import atomic_write
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.image_grid import make_image_grid
from tagpose.visualization.keypoint_names import draw_keypoint_names

# an installed package has no folder for files of a user
_CONFIG_DIR: Final = Path("conf") if is_installed() else config_folder()
_VAL: Final = ("val", "valid", "validation")
_EXAMPLES: Final = 3
_ANNOTATIONS: Final = "annotations"  # the folder of COCO's layout below that of the data set


@program("data_skeleton")
def main(cfg: DictConfig) -> None:
    """Draft what the configuration names."""
    file = Path(cfg.annotations)
    content = load_coco_json(file)
    category = named_category(content, cfg.category, file)
    rows = [row for row in content["annotations"] if is_in_category(row, category)]
    train, val = locate(file, cfg.images), None
    if val_file := Path(cfg.val_annotations) if cfg.val_annotations else find_val(file):
        val = locate(val_file, cfg.val_images)
    flips = None if cfg.flip_pairs is None else [list(pair) for pair in cfg.flip_pairs]
    official = official_skeleton(keypoint_names(category), rows)
    name = None if cfg.name is None else to_identifier(str(cfg.name))
    if official:
        name, skeleton, texts = name or folder_name(file), BODY, {}
        print(f"skeleton: the keypoints are those of skeleton={official}")
    else:
        drafted = draft_skeleton(category, name, flips, file)
        name, skeleton = drafted.name, make_custom_skeleton(**custom_skeleton_arguments(drafted))
        texts = {f"skeleton/{name}.yaml": format_skeleton_yaml(drafted, file.name)}
        print(*described(drafted), sep="\n")
    texts[f"data/{name}.yaml"] = format_data_yaml(train, val, file.name)
    picture = draw(content["images"], rows, train.images, skeleton)
    write_texts(texts, Path(cfg.config_dir or _CONFIG_DIR), overwrite=cfg.overwrite)
    target = Path(cfg.output) / f"{name}.png"
    write_image(target, picture)
    print(f"picture: {target}; see whether names, sides and bones are right")
    print(*next_commands(official or name, name, val, cfg), sep="\n")


def named_category(content: Row, wanted: object, file: Path) -> Row:
    """The category to draft, which must list its keypoints."""
    name = None if wanted is None else str(wanted)
    category = choose_category(content["categories"], content["annotations"], name, file)
    if category is None:
        raise ValueError(
            f"{file}: no category lists the names of its keypoints; add them with "
            "`tagpose data split source=PATH keypoints=[NAME,...]`"
        )
    return category


def folder_name(file: Path) -> str:
    """A name for a data set, that of its folder."""
    parent = file.resolve().parent
    return to_identifier(parent.parent.name if parent.name == _ANNOTATIONS else parent.name)


def locate(file: Path, images: str | None) -> SplitPaths:
    """Return a split of the data set with the folder of its images."""
    names = [row["file_name"] for row in load_coco_json(file)["images"]]
    if not names:
        raise ValueError(f"{file} has no images; is this the right file?")
    near = [Path(images)] if images else [file.parent, file.resolve().parent.parent]
    return SplitPaths(file, find_image_folder(names, file, near))


def find_val(file: Path) -> Path | None:
    """Return the annotation file of val that belongs to one of train, if there is one."""
    parent, name = file.resolve().parent, file.name
    siblings = [file.parent / name.replace("train", val) for val in _VAL]
    across = [parent.with_name(parent.name.replace("train", val)) / name for val in _VAL]
    found = (one for one in (*siblings, *across) if one.is_file())
    return next((one for one in found if one.resolve() != file.resolve()), None)


def described(drafted: SkeletonDraft) -> list[str]:
    """Return lines that describe a draft and the bones left out."""
    flips = ", ".join(f"{a}/{b}" for a, b in drafted.flips) or "none"
    bones = drafted.bones
    lines = [
        f"keypoints: {len(drafted.keypoints)}: {', '.join(drafted.keypoints)}",
        f"flip pairs: {flips}",
        f"bones: {len(bones.pairs)}, counted from {bones.first}" if bones.pairs else "bones: none",
    ]
    if bones.skipped:
        lines.append(f"bones left out, as they name no two keypoints: {', '.join(bones.skipped)}")
    return lines


def draw(images: list[Row], rows: list[Row], folder: Path, skeleton: Skeleton) -> np.ndarray:
    """Draw the examples [H, W, 3] below each other."""
    examples = choose_examples(images, rows, folder, skeleton.size, _EXAMPLES)
    if not examples:
        raise ValueError(f"{folder} has no image that is annotated")
    return make_image_grid(
        [
            draw_keypoint_names(one.image, one.keypoints, one.best, skeleton, one.name)
            for one in examples
        ]
    )


def write_texts(texts: Mapping[str, str], folder: Path, *, overwrite: bool) -> None:
    """Write files into a folder of configuration, all or none."""
    there = [str(folder / name) for name, text in texts.items() if differs(folder / name, text)]
    if there and not overwrite:
        raise FileExistsError(
            f"{' and '.join(there)} exists and differs; another name=NAME keeps it, "
            "overwrite=true replaces it"
        )
    for name, text in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
        print(f"written: {folder / name}")


def differs(file: Path, text: str) -> bool:
    """Whether a file has something to lose: other lines than a comment, and a complete data set."""
    if not file.exists():
        return False
    there = file.read_text(encoding="utf-8")
    return there.splitlines()[1:] != text.splitlines()[1:] and NO_VAL_LINE not in there


def next_commands(skeleton: str, data: str, val: SplitPaths | None, cfg: DictConfig) -> list[str]:
    """Return the commands to type next."""
    if val is None:
        words = [f"source={cfg.annotations}", *([f"category={cfg.category}"] * bool(cfg.category))]
        return [
            "val: no validation set was found; name it with val_annotations=FILE, or split this file:",
            f"next: tagpose data split {shlex.join(words)}",
        ]
    names, folder = f"skeleton={skeleton} data={data}", Path(cfg.config_dir or _CONFIG_DIR)
    if folder != config_folder():
        names += f" --config-dir={shlex.quote(str(folder))}"
    train = "      tagpose train experiment"
    return [
        f"next: tagpose data check {names}",
        f"{train}=demo_pretrain {names}  # a small network: minutes",
        f"{train}=pretrain {names} trainer.accumulate_grad_batches=8  # 192 images a step",
        f"{train}=finetune {names} init_from=CHECKPOINT  # from a network pretrained on people",
    ]
