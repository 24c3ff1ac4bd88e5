"""Draft a skeleton from a COCO file: tagpose data skeleton annotations=FILE [KEY=VALUE ...]."""

import shlex
from pathlib import Path
from typing import Final

import numpy as np
from omegaconf import DictConfig

from tagpose.cli.program import config_folder, is_installed, program
from tagpose.data.annotation_tools.coco_reader import load_coco_json
from tagpose.data.annotation_tools.config_writer import (
    format_data_yaml,
    format_skeleton_yaml,
    write_configs,
)
from tagpose.data.annotation_tools.example_images import choose_examples
from tagpose.data.annotation_tools.skeleton_draft import (
    custom_skeleton_arguments,
    dataset_name,
    describe_draft,
    draft_skeleton,
    official_skeleton,
    select_category,
    to_identifier,
)
from tagpose.data.annotation_tools.source_categories import is_in_category
from tagpose.data.annotation_tools.source_dataset import Row
from tagpose.data.coco_categories import keypoint_names
from tagpose.data.folder_matching import find_val_file, locate_split
from tagpose.data.image_files import write_image
from tagpose.data.split_paths import SplitPaths
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.image_grid import make_image_grid
from tagpose.visualization.keypoint_names import draw_keypoint_names

# an installed package has no folder for configuration files of users
_CONFIG_DIR: Final = Path("conf") if is_installed() else config_folder()
_NUM_EXAMPLES: Final = 3


@program("data_skeleton")
def main(cfg: DictConfig) -> None:
    """Write configuration files for a dataset, and a picture to verify them."""
    file = Path(cfg.annotations)
    content = load_coco_json(file)
    category = select_category(content, cfg.category, file)
    rows = [row for row in content["annotations"] if is_in_category(row, category)]
    train, val = (
        locate_split(file, content, cfg.images),
        None,
    )
    if val_file := Path(cfg.val_annotations) if cfg.val_annotations else find_val_file(file):
        val = locate_split(val_file, load_coco_json(val_file), cfg.val_images)
    flips = None if cfg.flip_pairs is None else [list(pair) for pair in cfg.flip_pairs]
    official = official_skeleton(keypoint_names(category), rows)
    name = None if cfg.name is None else to_identifier(str(cfg.name))
    if official:
        name, skeleton, texts = name or dataset_name(file), BODY, {}
        print(f"skeleton: the keypoints are those of skeleton={official}")
    else:
        draft = draft_skeleton(category, name, flips, file)
        name, skeleton = draft.name, make_custom_skeleton(**custom_skeleton_arguments(draft))
        texts = {f"skeleton/{name}.yaml": format_skeleton_yaml(draft, file.name)}
        print(*describe_draft(draft), sep="\n")
    texts[f"data/{name}.yaml"] = format_data_yaml(train, val, file.name)
    picture = draw_examples(content["images"], rows, train.images, skeleton)
    write_configs(texts, Path(cfg.config_dir or _CONFIG_DIR), overwrite=cfg.overwrite)
    target = Path(cfg.output) / f"{name}.png"
    write_image(target, picture)
    print(f"picture: {target}; verify the names, the sides and the bones")
    print(*next_commands(official or name, name, val, cfg), sep="\n")


def draw_examples(
    images: list[Row], rows: list[Row], folder: Path, skeleton: Skeleton
) -> np.ndarray:
    """Return a picture [H, W, 3] of example images below each other."""
    examples = choose_examples(images, rows, folder, skeleton.size, _NUM_EXAMPLES)
    if not examples:
        raise ValueError(f"{folder} has no annotated image to draw; check annotations= and images=")
    return make_image_grid(
        [draw_keypoint_names(e.image, e.keypoints, e.best, skeleton, e.name) for e in examples]
    )


def next_commands(skeleton: str, data: str, val: SplitPaths | None, cfg: DictConfig) -> list[str]:
    """Return lines with the commands to run next."""
    if val is None:
        words = [f"source={cfg.annotations}", *([f"category={cfg.category}"] * bool(cfg.category))]
        return [
            "val: no val set was found; name it with val_annotations=FILE, or split this file:",
            f"next: tagpose data split {shlex.join(words)}",
        ]
    options, folder = f"skeleton={skeleton} data={data}", Path(cfg.config_dir or _CONFIG_DIR)
    if folder != config_folder():
        options += f" --config-dir={shlex.quote(str(folder))}"
    train = "      tagpose train experiment"
    return [
        f"next: tagpose data check {options}",
        f"{train}=demo_pretrain {options}  # a small network: minutes",
        f"{train}=pretrain {options} trainer.accumulate_grad_batches=8  # 192 images a step",
        f"{train}=finetune {options} init_from=CHECKPOINT  # from a network pretrained on people",
    ]
