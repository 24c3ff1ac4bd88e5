"""This file finds people in the fields of a network without faults: what encoding alone costs."""

from torch.utils.data import default_collate

from tagpose.codec.decode import Decoder
from tagpose.codec.encode import Encoder
from tagpose.data.dataset import WholeSet
from tagpose.inference.people import people_in_images
from tagpose.structures import Fields, People, Sample

_APART = 3.0  # tags of two people
_NEAR = 0.01  # of a heatmap, from where on a tag is that of the person


def perfect_people(images: WholeSet, encoder: Encoder, decoder: Decoder) -> dict[int, People]:
    """The people of all images by image id, in image pixels.

    Args:
        images: with what is known of their people.
        encoder: draws what the network would say.
        decoder: reads it.
    """
    found = {}
    for index in range(len(images)):
        sample: Sample = default_collate([images[index]])
        fields = perfect_fields(sample, encoder)
        (found[int(sample.image_id)],) = people_in_images(fields, sample.frame, decoder)
    return found


def perfect_fields(batch: Sample, encoder: Encoder) -> Fields:
    """Targets as fields; around the keypoints of a person its tag, a multiple of 3."""
    heatmaps = encoder(batch.keypoints, batch.mask).heatmaps
    tags = -_APART * heatmaps.new_ones(heatmaps.shape)
    for person in range(batch.keypoints.shape[1]):
        own = encoder(batch.keypoints[:, person : person + 1], batch.mask).heatmaps
        # where people overlap, whoever is nearer
        tags[(own > _NEAR) & (own == heatmaps)] = _APART * person
    return Fields(heatmaps, tags[:, None])
