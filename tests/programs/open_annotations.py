"""Open annotations for each line on stdin; print the number of people and the peak memory in MB.

The program is started early, so that its imports are not part of the measured time.
"""

import sys
from pathlib import Path

from tagpose.data.annotations import read_annotations
from tagpose.skeletons.coco import WHOLEBODY


def peak_memory():
    """Return the peak in MB of this process; getrusage would start with that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    file, folder = map(Path, sys.argv[1:])
    print("ready", flush=True)
    for _ in sys.stdin:
        annotations = read_annotations(file, folder, WHOLEBODY, only_annotated=True)
        print(len(annotations.keypoints), peak_memory(), flush=True)
