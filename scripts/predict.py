"""Find people in pictures: python scripts/predict.py checkpoint=FILE images=FILE_OR_FOLDER."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from tagpose.complaints import told_in_a_sentence
from tagpose.data.images import list_images, read_image, write_image
from tagpose.drawing.people import draw_people
from tagpose.evaluation.rows import to_rows, write_json
from tagpose.model.weights import load_network


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Write one JSON file in the official format, and a picture with people for each image."""
    with told_in_a_sentence():
        predict(cfg)


def predict(cfg: DictConfig) -> None:
    """Find and draw the people of all images; the JSON's images are numbered as it lists them."""
    files = list_images(Path(cfg.images))
    network = load_network(Path(cfg.checkpoint))
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    output, rows, images = Path(cfg.output), [], []
    for number, file in enumerate(tqdm(files, desc="predict", unit="image"), start=1):
        image = read_image(file)
        people = predictor([image])[0]
        images.append({"id": number, "file_name": file.name})
        rows += to_rows(number, people, network.skeleton)
        drawn = draw_people(
            image,
            people,
            network.skeleton,
            min_score=cfg.min_keypoint_score,
            min_person_score=cfg.min_person_score,
        )
        write_image(output / f"{file.stem}.png", drawn)
    write_json(output / "results.json", rows)
    write_json(output / "images.json", images)
    print(f"pictures and results: {output}")


if __name__ == "__main__":
    main()
