"""Published results of MMPose 0.x, and the differences of measured scores from them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from tagpose.evaluation.keypoint_ap import PartScores

# Results are published with three digits; other versions of the libraries change less than that.
TOLERANCE: Final = 0.002


class PublishedResult(NamedTuple):
    """One row of a published table of results."""

    architecture: str
    skeleton: str
    scales: tuple[float, ...]  # test-time scales
    numbers: Mapping[str, tuple[float, float]]  # AP, AR by part


def _wholebody_numbers(*numbers: float) -> Mapping[str, tuple[float, float]]:
    """Return AP, AR by part from numbers in the order of the published tables."""
    parts = ("body", "foot", "face", "hand", "wholebody")
    return MappingProxyType(
        dict(zip(parts, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
    )


def _body_numbers(ap: float, ar: float) -> Mapping[str, tuple[float, float]]:
    """Return AP, AR by part of a stage-one network."""
    return MappingProxyType({"body": (ap, ar)})


# OpenMMLab, MMPose 0.x, model zoo: associative embedding, COCO val2017 and COCO-WholeBody v1.0 val.
_W32_NUMBERS: Final = _wholebody_numbers(
    0.551, 0.650, 0.271, 0.451, 0.564, 0.618, 0.159, 0.238, 0.342, 0.453
)
_W48_NUMBERS: Final = _wholebody_numbers(
    0.592, 0.686, 0.443, 0.595, 0.619, 0.674, 0.347, 0.438, 0.422, 0.532
)
_HIGHER_W32_NUMBERS: Final = _wholebody_numbers(
    0.590, 0.672, 0.185, 0.335, 0.676, 0.721, 0.212, 0.298, 0.401, 0.493
)
_HIGHER_W48_NUMBERS: Final = _wholebody_numbers(
    0.630, 0.706, 0.440, 0.573, 0.730, 0.777, 0.389, 0.477, 0.487, 0.574
)

_RESULTS: Final = (
    PublishedResult("hrnet_w32", "wholebody", (1,), _W32_NUMBERS),
    PublishedResult("hrnet_w48", "wholebody", (1,), _W48_NUMBERS),
    PublishedResult("hrnet_w32", "body", (1,), _body_numbers(0.654, 0.710)),
    PublishedResult("hrnet_w48", "body", (1,), _body_numbers(0.665, 0.716)),
    PublishedResult("hrnet_w32", "body", (2, 1, 0.5), _body_numbers(0.698, 0.748)),
    PublishedResult("hrnet_w48", "body", (2, 1, 0.5), _body_numbers(0.712, 0.757)),
    PublishedResult("higherhrnet_w32", "wholebody", (1,), _HIGHER_W32_NUMBERS),
    PublishedResult("higherhrnet_w48", "wholebody", (1,), _HIGHER_W48_NUMBERS),
    PublishedResult("higherhrnet_w32", "body", (1,), _body_numbers(0.677, 0.723)),
    PublishedResult("higherhrnet_w48", "body", (1,), _body_numbers(0.686, 0.731)),
    PublishedResult("higherhrnet_w32", "body", (2, 1, 0.5), _body_numbers(0.706, 0.747)),
    PublishedResult("higherhrnet_w48", "body", (2, 1, 0.5), _body_numbers(0.716, 0.755)),
)


class PublishedDifference(NamedTuple):
    """A published number and the measured one."""

    part: str
    metric: str  # "ap" or "ar"
    published: float
    measured: float

    @property
    def exceeds_tolerance(self) -> bool:
        """Whether the numbers differ by more than rounding."""
        return abs(self.measured - self.published) > TOLERANCE


def find_published_result(
    architecture: str, skeleton: str, scales: tuple[float, ...]
) -> PublishedResult:
    """Return the published results of a network at given test-time scales.

    Raises:
        ValueError: if no results were published for them.
    """
    for result in _RESULTS:
        if (result.architecture, result.skeleton) == (architecture, skeleton) and set(
            result.scales
        ) == set(scales):
            return result
    known = "; ".join(f"{r.architecture}, {r.skeleton}, scales {list(r.scales)}" for r in _RESULTS)
    raise ValueError(
        f"no results were published for {architecture}, {skeleton}, scales {list(scales)}; "
        f"use one of: {known}"
    )


def compare_to_published(
    result: PublishedResult, scores: Mapping[str, PartScores]
) -> list[PublishedDifference]:
    """Compare each published number with the measured one."""
    return [
        PublishedDifference(part, metric, published, getattr(scores[part], metric))
        for part, numbers in result.numbers.items()
        for metric, published in zip(("ap", "ar"), numbers, strict=True)
    ]
