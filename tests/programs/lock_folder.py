"""Lock a folder and print "locked", with a child process like a DataLoader worker.

The arguments are the folder, the seconds to hold the lock, and the seconds that the child lives.
"""

import os
import sys
import time
from pathlib import Path

from tagpose.locks import FolderInUseError, lock_folder


def main(folder, seconds, child):
    with lock_folder(Path(folder)):
        if not os.fork():
            time.sleep(float(child))
            os._exit(0)
        print("locked", flush=True)
        time.sleep(float(seconds))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FolderInUseError as error:
        sys.exit(str(error))
