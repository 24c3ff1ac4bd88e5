"""This file carries people from the maps of a batch back to the pixels of its images."""

from torch import Tensor

from tagpose.codec.decode import Decoder
from tagpose.geometry import invert, move_people
from tagpose.structures import Fields, People


def people_in_images(fields: Fields, frames: Tensor, decoder: Decoder) -> list[People]:
    """The people of a batch in image pixels.

    Args:
        fields: of the batch.
        frames: [B, 2, 3] image pixels -> input pixels.
        decoder: with its thresholds.
    """
    people = decoder(fields)
    # only now: fetching them from a GPU waits for all that it was told to do
    back = [invert(frame) for frame in frames.cpu().numpy()]
    return [move_people(p, frame) for p, frame in zip(people, back, strict=True)]
