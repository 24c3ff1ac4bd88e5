"""Read annotations with DataLoader workers, and print the unshared memory of each worker.

The output is a list of epochs, each a list with the MB of each worker.
"""

import json
import sys
from pathlib import Path

import psutil
from torch.utils.data import DataLoader, Dataset

from tagpose.data.annotations import read_annotations
from tagpose.skeletons.coco import WHOLEBODY

EPOCHS = 3


class Records(Dataset):
    """Annotations of images, without the images."""

    def __init__(self, annotations):
        self.annotations = annotations

    def __len__(self):
        return len(self.annotations)

    def __getitem__(self, index):
        record = self.annotations.record(index)
        return float(record.keypoints.sum()) + len(record.ignored)


def main(file, folder, workers, start):
    annotations = read_annotations(Path(file), Path(folder), WHOLEBODY, only_annotated=True)
    loader = DataLoader(
        Records(annotations),
        batch_size=256,
        shuffle=True,
        num_workers=int(workers),
        persistent_workers=True,
        multiprocessing_context=start,
    )
    unshared = []
    for _ in range(EPOCHS):
        for _ in loader:
            pass
        processes = [psutil.Process(worker.pid) for worker in loader._iterator._workers]
        unshared.append([process.memory_full_info().uss / 1e6 for process in processes])
    print(json.dumps(unshared))


if __name__ == "__main__":
    main(*sys.argv[1:])
