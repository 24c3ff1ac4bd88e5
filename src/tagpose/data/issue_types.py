"""Types of issues that an annotation file can have, each with its severity and advice."""

from enum import Enum


class Severity(Enum):
    """Consequence of an issue; the value is its name in listings and in the documentation."""

    ERROR = "error"  # training and evaluation stop
    SKIPPED = "skipped"  # the row is skipped; one warning per type gives the count
    REPAIRED = "repaired"  # the row is read with a default; one warning per type gives the count
    WARNING = "warning"  # the file is read unchanged, with one warning, but is probably wrong
    NOTE = "note"  # listed by an inspection only


class IssueType(Enum):
    """Issue types: severity, plural description, and what happens or what the user should do."""

    ROW = (
        Severity.ERROR,
        "rows that are not JSON objects",
        "remove them",
    )
    IMAGE_ID = (
        Severity.ERROR,
        "images without a readable id",
        "an id is an integer of at most 64 bits, or text",
    )
    IMAGE_REUSED = (
        Severity.ERROR,
        "image ids shared by two different images",
        "give each image a unique id",
    )
    FILE_REUSED = (
        Severity.ERROR,
        "image files shared by two images with different ids",
        "people of one image would count as background in the other; merge their annotations",
    )
    FILE_NAME = (
        Severity.ERROR,
        "images without a file_name",
        "file_name is the path of the image relative to the image folder",
    )
    FILE_MISSING = (
        Severity.ERROR,
        "missing image files",
        "copy them into the image folder, or correct data.root or the folder in data.train "
        "and data.val",
    )
    IMAGE_SIZE = (
        Severity.ERROR,
        "impossible image sizes",
        "width and height are integers, at least 1 pixel",
    )
    IMAGE_FILE = (
        Severity.ERROR,
        "image files that cannot be read or whose size differs from the annotated one",
        "export or download the images again as they were annotated",
    )
    IMAGE_ID_OF_ANNOTATION = (
        Severity.ERROR,
        "annotations without a readable image_id",
        "image_id is the id of an image in the same file",
    )
    CROWD = (
        Severity.ERROR,
        "values of iscrowd other than 0 and 1",
        "iscrowd is 1 for a crowd region and 0 otherwise",
    )
    KEYPOINT_COUNT = (
        Severity.ERROR,
        "keypoint lists of the wrong length",
        "skeleton=body reads person_keypoints_*.json, skeleton=wholebody reads "
        "coco_wholebody_*_v1.0.json, and other keypoints need a custom skeleton",
    )
    KEYPOINT_VALUE = (
        Severity.ERROR,
        "keypoints that are not finite numbers",
        "write 0, 0, 0 for an unlabeled keypoint",
    )
    VISIBILITY = (
        Severity.ERROR,
        "visibilities v outside 0 to 2",
        "v is 0 for an unlabeled keypoint, 1 for an occluded one and 2 for a visible one",
    )
    BOX = (
        Severity.ERROR,
        "boxes that are not x, y, width, height",
        "a box is four finite numbers in image pixels, with width and height at least 0",
    )
    AREA_VALUE = (
        Severity.ERROR,
        "areas that are not finite numbers (only scoring reads areas)",
        "write the area of the mask or of the box in square image pixels",
    )
    SEGMENTATION = (
        Severity.ERROR,
        "unreadable segmentations of crowds or of people without keypoints",
        "with an empty list the loss ignores the box instead",
    )
    CATEGORY = (
        Severity.ERROR,
        "several categories with keypoints, none of which is selected",
        "select one with data.category=NAME (category=NAME for tagpose score)",
    )
    CATEGORY_SIZE = (
        Severity.ERROR,
        "a category with a different number of keypoints than the skeleton",
        "use a skeleton with the keypoints of the file",
    )
    NORMALIZED = (
        Severity.ERROR,
        "normalized coordinates",
        "x and y are image pixels; multiply them by the width and height of the image",
    )
    UNLABELLED = (
        Severity.ERROR,
        "a file without any labeled keypoint",
        "there is nothing to train on or to evaluate; check data.train and data.val",
    )
    IMAGE_REPEATED = (Severity.SKIPPED, "duplicate rows of an image", "read once")
    ANNOTATION_REPEATED = (Severity.SKIPPED, "duplicate rows of an annotation", "read once")
    STRAY = (
        Severity.SKIPPED,
        "annotations of images that are not in the file",
        "skipped; add their images to the file to use them",
    )
    OTHER_CATEGORY = (Severity.SKIPPED, "annotations of another category", "skipped")
    EMPTY = (
        Severity.SKIPPED,
        "annotations without keypoints, box and segmentation",
        "skipped, because the region that the loss should ignore is unknown",
    )
    CROWD_MISSING = (Severity.REPAIRED, "annotations without iscrowd", "read as 0")
    BOX_MISSING = (
        Severity.REPAIRED,
        "annotations without bbox",
        "the bounding box of the labeled keypoints is used",
    )
    AREA_MISSING = (
        Severity.REPAIRED,
        "annotations without area",
        "the area of the segmentation, or else of the box, is used",
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
        "the loss ignores their segmentation or box",
    )
    SIZE_MISSING = (
        Severity.REPAIRED,
        "images without width or height",
        "the size is read from the image file, after EXIF rotation",
    )
    FILE_ELSEWHERE = (
        Severity.REPAIRED,
        "file names with folders that do not exist",
        "the image is found in the image folder by the last parts of its path",
    )
    KEYPOINT_ORDER = (
        Severity.REPAIRED,
        "keypoint names in a different order than the skeleton's",
        "keypoints are reordered by name",
    )
    KEYPOINT_NAMES = (
        Severity.WARNING,
        "keypoint names that differ from the skeleton's",
        "keypoints are read in the order of the file; check that the skeleton is correct",
    )
    CATEGORY_UNKNOWN = (
        Severity.WARNING,
        "annotations of categories that are not in the file",
        "they are used; correct their category_id, or add the category",
    )
    COORDINATES_OF_V0 = (
        Severity.WARNING,
        "keypoints with coordinates and v = 0, which count as unlabeled",
        "data.v0_as_labelled=true (v0_as_labelled=true for tagpose score) treats them as labeled",
    )
    AREA_IMPLAUSIBLE = (
        Severity.WARNING,
        "implausible areas",
        "AP would be meaningless; remove the areas to use those of the segmentations or boxes",
    )
    SHARED_IMAGES = (
        Severity.WARNING,
        "images in both train and val",
        "scores on training images are meaningless; split the data again",
    )
    ANNOTATION_ID_ZERO = (
        Severity.NOTE,
        "an annotation with the id 0",
        "pycocotools counts a match with it as a false positive, this project does not; number "
        "from 1",
    )
    ANNOTATION_ID_REUSED = (
        Severity.NOTE,
        "annotation ids shared by several annotations",
        "not used here, but pycocotools evaluates only the last one; give each a unique id",
    )
    FLAG = (
        Severity.NOTE,
        "valid flags that contradict v",
        "only v is used here, but other programs use the flags",
    )
    OUTSIDE = (
        Severity.NOTE,
        "labeled keypoints outside the image",
        "the network would learn to predict people in black margins; set their v to 0",
    )
    BOX_PLACE = (
        Severity.NOTE,
        "boxes with zero area or outside the image",
        "ignored regions and the evaluation of people without keypoints depend on them",
    )
    AREA = (
        Severity.NOTE,
        "areas of 0 or less",
        "OKS divides by the area, so these people cannot be matched",
    )

    @property
    def severity(self) -> Severity:
        """Consequence of issues of this type."""
        return self.value[0]

    @property
    def description(self) -> str:
        """Plural noun phrase for issues of this type."""
        return self.value[1]

    @property
    def advice(self) -> str:
        """What is done about such issues, or what the user should do."""
        return self.value[2]
