"""This file remembers what was found until all images are seen: the evaluation's only state."""

from torch import distributed

from tagpose.structures import People


class Predictions:
    """People by image id, in image pixels.

    The image id is the key, so that an image that a sampler repeats counts once.
    """

    def __init__(self) -> None:
        self._people: dict[int, People] = {}

    def update(self, image_id: int, people: People) -> None:
        """Remember the people of an image."""
        self._people[int(image_id)] = people

    def gather(self) -> None:
        """Take over what the other processes found, where there are any.

        Every process must call it; afterwards all hold the same. Processes may have found
        differently much, or nothing.
        """
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        parts: list[dict[int, People]] = [{}] * distributed.get_world_size()
        distributed.all_gather_object(parts, self._people)
        self._people = {image_id: people for part in parts for image_id, people in part.items()}

    def compute(self) -> dict[int, People]:
        """People by image id, by rising id."""
        return dict(sorted(self._people.items()))

    def reset(self) -> None:
        """Forget everything."""
        self._people = {}
