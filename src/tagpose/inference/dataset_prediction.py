"""Prediction on a whole data set."""

from collections.abc import Iterable

from tqdm import tqdm

from tagpose.data.preprocessing import ScaledInputs
from tagpose.evaluation.predictions import Predictions
from tagpose.inference.batch_decoding import overlap
from tagpose.inference.predictor import Predictor
from tagpose.structures import Poses


def predict_dataset(predictor: Predictor, loader: Iterable[ScaledInputs]) -> dict[int, Poses]:
    """The people of all images of a loader by image id, in image pixels."""
    found = Predictions()
    batches = tqdm(loader, desc="find people", unit="batch")
    submitted = ((batch.image_id.tolist(), predictor.submit(batch)) for batch in batches)
    for image_ids, people in overlap(submitted):
        for image_id, one in zip(image_ids, people, strict=True):
            found.update(image_id, one)
    return found.compute()
