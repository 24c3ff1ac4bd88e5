"""Prediction on a whole data set."""

from collections.abc import Iterable

from tqdm import tqdm

from tagpose.data.views import Views
from tagpose.evaluation.predictions import Predictions
from tagpose.inference.decoding import overlap
from tagpose.inference.predictor import Predictor
from tagpose.structures import People


def find_people(predictor: Predictor, loader: Iterable[Views]) -> dict[int, People]:
    """The people of all images of a loader by image id, in image pixels."""
    found = Predictions()
    batches = tqdm(loader, desc="find people", unit="batch")
    submitted = ((batch.image_id.tolist(), predictor.submit(batch)) for batch in batches)
    for image_ids, people in overlap(submitted):
        for image_id, one in zip(image_ids, people, strict=True):
            found.update(image_id, one)
    return found.compute()
