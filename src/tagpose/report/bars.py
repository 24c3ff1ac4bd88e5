"""This file shows the kinds of errors as bars, the whole of a bar being all keypoints of a part."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tagpose.evaluation.table import part_titles
from tagpose.report.errors import GOOD, NEAR, Kind, has_mirror_pairs, tally
from tagpose.report.inks import part_inks
from tagpose.report.run import Run
from tagpose.skeleton import Skeleton

MEANINGS: Final = {
    Kind.GOOD: f"as near to its own place as people label it: similarity {GOOD:g} or more",
    Kind.JITTER: f"near its own place, but not as near as that: similarity {NEAR:g} to {GOOD:g}",
    Kind.INVERSION: "nearest to its mirror keypoint on the same person, left for right",
    Kind.SWAP: "nearest to this keypoint, or to its mirror keypoint, on somebody else",
    Kind.MISS: f"near none of these places: similarity below {NEAR:g} to all of them",
}


class Segment(NamedTuple):
    """A piece of a bar."""

    kind: str
    share: float  # of the bar, 0 to 1


class Bar(NamedTuple):
    """The keypoints of one part."""

    name: str
    ink: str  # colour of the part
    run: str  # whose bar it is
    segments: Sequence[Segment]

    @property
    def words(self) -> str:
        """What the bar shows, for those who don't see it."""
        return ", ".join(f"{kind} {share:.1%}" for kind, share in self.segments)


def error_bars(runs: Sequence[Run], skeleton: Skeleton) -> list[Bar]:
    """The bars of all parts, those of several runs one below the other."""
    tallies, inks = [tally(run.kinds, skeleton) for run in runs], part_inks(skeleton)
    bars = []
    for part, name in part_titles(runs[0].scores).items():
        for run, counts in zip(runs, tallies, strict=True):
            if part in counts and counts[part].any():
                shares = counts[part] / counts[part].sum()
                segments = [Segment(kind.name.lower(), float(shares[kind])) for kind in Kind]
                if not has_mirror_pairs(part, skeleton):
                    del segments[Kind.INVERSION]
                bars.append(Bar(name, inks[part], run.name, segments))
    return bars
