"""Find people in pictures: python scripts/predict.py checkpoint=FILE images=FILE_OR_FOLDER."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told_in_a_sentence
from tagpose.data.images import list_images, read_image, write_image
from tagpose.drawing.people import draw_people
from tagpose.evaluation.rows import to_rows, write_json, write_rows
from tagpose.model.weights import load_network


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Write one JSON file in the official format, and a picture with people for each image."""
    keep_freed_memory()
    with told_in_a_sentence():
        predict(cfg)


def predict(cfg: DictConfig) -> None:
    """Find and draw the people of all images; images.json says which image has which id."""
    files = list_images(Path(cfg.images))
    for file in files:  # a broken one ends this before anything is written
        read_image(file)
    network = load_network(Path(cfg.checkpoint))
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    output, rows, numbers = Path(cfg.output), [], image_ids(files)
    for file in tqdm(files, desc="predict", unit="image"):
        image = read_image(file)
        people = predictor([image])[0]
        rows += to_rows(numbers[file], people, network.skeleton)
        drawn = draw_people(
            image,
            people,
            network.skeleton,
            min_score=cfg.min_keypoint_score,
            min_person_score=cfg.min_person_score,
        )
        # pictures that differ in their ending alone must not overwrite each other
        alone = sum(other.stem == file.stem for other in files) == 1
        write_image(output / f"{file.stem if alone else file.name}.png", drawn)
    write_rows(output / "results.json", rows)
    write_json(output / "images.json", [{"id": i, "file_name": f.name} for f, i in numbers.items()])
    print(f"pictures and results: {output}")


def image_ids(files: list[Path]) -> dict[Path, int]:
    """Numbers for the result file: those in COCO's file names, or counted where they are none."""
    if all(file.stem.isdecimal() for file in files):
        ids = {file: int(file.stem) for file in files}
        if len(set(ids.values())) == len(files):
            return ids
    return {file: number for number, file in enumerate(files, start=1)}


if __name__ == "__main__":
    main()
