"""Types of issues that an annotation file can have, each with its severity and advice."""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """What an issue leads to; the value is the text of listings and of the documentation."""

    ERROR = "error"  # training and scoring stop
    SKIPPED = "skipped"  # the row is left out, with one warning that counts
    REPAIRED = "repaired"  # the row is read with a default, with one warning that counts
    WARNING = "warning"  # the file is read as it is, with one warning: it is probably wrong
    NOTE = "note"  # only an inspection lists it


class IssueType(Enum):
    """Issues with the same effect: severity, what was found, and what it leads to or asks for."""

    ROW = (
        Severity.ERROR,
        "rows that are not JSON objects",
        "remove them",
    )
    IMAGE_ID = (
        Severity.ERROR,
        "images without a readable id",
        "an id is a whole number of at most 64 bits, or text",
    )
    IMAGE_REUSED = (
        Severity.ERROR,
        "image ids of two different images",
        "give each image an id of its own",
    )
    FILE_REUSED = (
        Severity.ERROR,
        "files that two images with different ids share",
        "people of one image would be background in the other; merge their annotations",
    )
    FILE_NAME = (
        Severity.ERROR,
        "images without a file_name",
        "file_name is the path of the image relative to the folder of images",
    )
    FILE_MISSING = (
        Severity.ERROR,
        "missing image files",
        "copy them into the folder of images, or correct data.root or the folder in data.train "
        "and data.val",
    )
    IMAGE_SIZE = (
        Severity.ERROR,
        "image sizes that are impossible",
        "width and height are whole numbers of pixels from 1 on",
    )
    IMAGE_FILE = (
        Severity.ERROR,
        "image files that cannot be read or have another size than stated",
        "export or download them again, as they were annotated",
    )
    IMAGE_ID_OF_ANNOTATION = (
        Severity.ERROR,
        "annotations without a readable image_id",
        "image_id is the id of an image in the same file",
    )
    CROWD = (
        Severity.ERROR,
        "values of iscrowd other than 0 and 1",
        "iscrowd is 1 for a region of many people and 0 otherwise",
    )
    KEYPOINT_COUNT = (
        Severity.ERROR,
        "keypoint lists of a wrong length",
        "skeleton=body reads person_keypoints_*.json, skeleton=wholebody reads "
        "coco_wholebody_*_v1.0.json, and other keypoints need a skeleton of their own",
    )
    KEYPOINT_VALUE = (
        Severity.ERROR,
        "keypoints that are not finite numbers",
        "write 0, 0, 0 for a keypoint without a label",
    )
    VISIBILITY = (
        Severity.ERROR,
        "visibilities v outside 0 to 2",
        "v is 0 without a label, 1 for a hidden keypoint and 2 for a visible one",
    )
    BOX = (
        Severity.ERROR,
        "boxes that are not x, y, width, height",
        "a box is four finite numbers in image pixels, width and height at least 0",
    )
    AREA_VALUE = (
        Severity.ERROR,
        "areas that are not finite numbers (only scoring reads areas)",
        "write the area of the mask or of the box in square pixels",
    )
    SEGMENTATION = (
        Severity.ERROR,
        "segmentations of crowds or people without keypoints that cannot be read",
        "an empty list makes the box the region that the loss ignores",
    )
    CATEGORY = (
        Severity.ERROR,
        "several categories with keypoints, none of which is named",
        "choose one with data.category=NAME (category=NAME of make score)",
    )
    CATEGORY_SIZE = (
        Severity.ERROR,
        "a category with another number of keypoints than the skeleton",
        "use a skeleton with the keypoints of the file",
    )
    UNLABELLED = (
        Severity.ERROR,
        "a file without any labelled keypoint",
        "there is nothing to learn or to score; check data.train and data.val",
    )
    IMAGE_REPEATED = (Severity.SKIPPED, "identical rows of one image", "read once")
    ANNOTATION_REPEATED = (Severity.SKIPPED, "identical rows of one annotation", "read once")
    STRAY = (
        Severity.SKIPPED,
        "annotations of images that the file does not list",
        "left out; list their images to use them",
    )
    OTHER_CATEGORY = (Severity.SKIPPED, "annotations of another category", "left out")
    EMPTY = (
        Severity.SKIPPED,
        "annotations without keypoints, box and segmentation",
        "left out, because nothing says where the loss should ignore them",
    )
    CROWD_MISSING = (Severity.REPAIRED, "annotations without iscrowd", "read as 0")
    BOX_MISSING = (
        Severity.REPAIRED,
        "annotations without bbox",
        "the box of the labelled keypoints is used",
    )
    AREA_MISSING = (
        Severity.REPAIRED,
        "annotations without area",
        "the area of the segmentation or else of the box is used",
    )
    NESTED = (
        Severity.REPAIRED,
        "nested lists such as [[x, y, v], ...] or [[x, y, width, height]]",
        "read as one flat list",
    )
    TEXT = (Severity.REPAIRED, "numbers written as text", "read as numbers")
    NO_KEYPOINTS = (
        Severity.REPAIRED,
        "annotations without keypoints",
        "their box or segmentation is a region that the loss ignores",
    )
    SIZE_MISSING = (
        Severity.REPAIRED,
        "images without width or height",
        "the size is read from the image file, upright",
    )
    FILE_ELSEWHERE = (
        Severity.REPAIRED,
        "file names with folders that do not exist",
        "the image is found in the folder of images by the last parts of its name",
    )
    KEYPOINT_ORDER = (
        Severity.REPAIRED,
        "keypoint names in another order than the skeleton's",
        "keypoints are reordered by name",
    )
    KEYPOINT_NAMES = (
        Severity.WARNING,
        "keypoint names other than the skeleton's",
        "keypoints are read in the order of the file; check that the skeleton is the right one",
    )
    COORDINATES_OF_V0 = (
        Severity.WARNING,
        "keypoints with coordinates and v = 0, which count as not labelled",
        "data.v0_as_labelled=true (v0_as_labelled=true of make score) takes them as labelled",
    )
    AREA_IMPLAUSIBLE = (
        Severity.WARNING,
        "areas that cannot be true",
        "AP is meaningless with them; remove the areas to have those of the segmentations or boxes",
    )
    SHARED_IMAGES = (
        Severity.WARNING,
        "images in both train and val",
        "scores on images that training has seen say nothing; split the data again",
    )
    ANNOTATION_ID_ZERO = (
        Severity.NOTE,
        "an annotation with the id 0",
        "pycocotools counts whoever matches it as wrong, this project does not; number from 1",
    )
    ANNOTATION_ID_REUSED = (
        Severity.NOTE,
        "annotation ids of several annotations",
        "not used here, but pycocotools scores only the last one; give each an id of its own",
    )
    FLAG = (
        Severity.NOTE,
        "valid flags that contradict v",
        "only v is used here, but other programs use the flags",
    )
    OUTSIDE = (
        Severity.NOTE,
        "labelled keypoints outside the image",
        "the network would learn to see people in black margins; set their v to 0",
    )
    BOX_PLACE = (
        Severity.NOTE,
        "boxes of no area or outside the image",
        "ignored regions and scores of people without keypoints depend on them",
    )
    AREA = (
        Severity.NOTE,
        "areas that are not above 0",
        "OKS divides by the area, so such a person cannot be matched",
    )

    @property
    def severity(self) -> Severity:
        """What issues of this type lead to."""
        return self.value[0]

    @property
    def description(self) -> str:
        """What such issues are, in the plural."""
        return self.value[1]

    @property
    def advice(self) -> str:
        """What is done about them, or what the user should do."""
        return self.value[2]


class Issue(NamedTuple):
    """One issue of a file."""

    type: IssueType
    where: str  # the image or annotation, by its id, or by its place in the file
    detail: str  # what was found there, for a message "WHERE WHAT"
    image_ids: tuple[int, ...] = ()  # images that on_error=skip leaves out because of it
