"""Opens annotations when told to on its input; tells how many people there are, and its peak in MB.

Started before it is needed, so that the time of its imports is not that of the opening.
"""

import sys
from pathlib import Path

from tagpose.data.annotations import read_annotations
from tagpose.skeletons.coco import WHOLEBODY


def peak():
    """Of this program alone: what getrusage tells begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    file, folder = map(Path, sys.argv[1:])
    print("ready", flush=True)
    for _ in sys.stdin:
        annotations = read_annotations(file, folder, WHOLEBODY, only_annotated=True)
        print(len(annotations.keypoints), peak(), flush=True)
