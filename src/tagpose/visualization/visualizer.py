"""Visualizer of predictions with the options of `tagpose predict`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.face_blurring import blur_faces
from tagpose.visualization.poses import draw_poses

# values of the options that are names
STYLE_CHOICES: Final = {"color_by": ("part", "person"), "background": ("image", "black")}


@dataclass(frozen=True)
class PoseVisualizer:
    """Draw people on an image; calling it returns the picture.

    Attributes:
        color_by: "part" uses different colors for body, face and fingers, left and right; "person"
            uses one color per person, which separates people in crowds.
        background: "image", or "black" for skeletons only.
        line_width: factor for the widths of lines and the sizes of dots.
        boxes: whether to draw the box of each person; None draws boxes of tracked people only.
        ids: whether to write the number of each person, which is the track in videos and otherwise
            the index in the results; None writes numbers of tracked people only.
        blur_faces: whether to blur faces beyond recognition.

    Raises:
        ValueError: `color_by` or `background` is unknown, or `line_width` is not above 0.
    """

    color_by: str = "part"
    background: str = "image"
    line_width: float = 1.0
    boxes: bool | None = None
    ids: bool | None = None
    blur_faces: bool = False

    def __post_init__(self) -> None:
        for name, choices in STYLE_CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; use {' or '.join(choices)}"
                )
        if not self.line_width > 0:
            raise ValueError(f"line_width is {self.line_width}; use a number above 0")

    def __call__(
        self,
        image: np.ndarray,
        people: Poses,
        skeleton: Skeleton,
        *,
        tracks: Sequence[int | None] = (),
        all_people: Poses | None = None,
    ) -> np.ndarray:
        """Return the picture [H, W, 3] uint8 RGB.

        Args:
            image: image [H, W, 3] uint8 RGB, not modified.
            people: people to draw; keypoints with a score of 0 are missing.
            skeleton: skeleton of the keypoints.
            tracks: track number of each person in a video, None where unknown; empty for images.
            all_people: people to blur the faces of, by default `people`.
        """
        if self.background == "black":
            image = np.zeros_like(image)
        elif self.blur_faces:
            image = blur_faces(image, people if all_people is None else all_people, skeleton)
        numbers = list(tracks) or list(range(len(people.scores)))
        draw_ids = bool(tracks) if self.ids is None else self.ids
        return draw_poses(
            image,
            people,
            skeleton,
            min_score=float(np.finfo(np.float32).tiny),
            labels=["" if n is None else str(n) for n in numbers] if draw_ids else None,
            identities=numbers,
            boxes=bool(tracks) if self.boxes is None else self.boxes,
            color_by_person=self.color_by == "person",
            line_width=self.line_width,
        )
