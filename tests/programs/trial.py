"""Stands in for a training in a search: it owns its folder, waits, and logs a number.

Overrides are hydra.run.dir=FOLDER, x=NUMBER and wait=SECONDS.
"""

import os
import sys
import time
from pathlib import Path

from tagpose.folder_lock import lock_folder
from tagpose.training.history import write_history


def main(words):
    told = dict(word.split("=") for word in words)
    folder = Path(told["hydra.run.dir"])
    with lock_folder(folder):
        (folder / "process").write_text(str(os.getpid()))
        with (folder.parent / "started.txt").open("a") as out:
            out.write(f"{folder.name}\n")
        time.sleep(float(told["wait"]))
        write_history(folder, {"val/ap/body": float(told["x"])})


if __name__ == "__main__":
    main(sys.argv[1:])
