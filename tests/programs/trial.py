"""Stand-in for a training run of a sweep: lock the folder, wait, and log a metric.

The overrides are hydra.run.dir=FOLDER, x=NUMBER and wait=SECONDS.
"""

import os
import sys
import time
from pathlib import Path

from tagpose.locks import lock_folder
from tagpose.training.history import write_history


def main(arguments):
    overrides = dict(argument.split("=") for argument in arguments)
    folder = Path(overrides["hydra.run.dir"])
    with lock_folder(folder):
        (folder / "process").write_text(str(os.getpid()))
        with (folder.parent / "started.txt").open("a") as out:
            out.write(f"{folder.name}\n")
        time.sleep(float(overrides["wait"]))
        write_history(folder, {"val/ap/body": float(overrides["x"])})


if __name__ == "__main__":
    main(sys.argv[1:])
