"""Setup of the worker processes of data loaders."""

import os
import signal
import threading

import cv2

from tagpose.signals import STOP_SIGNALS, signal_exit_code


def worker_init(worker: int) -> None:
    """Prepare a worker process of a DataLoader.

    OpenCV uses one thread, because the workers already run in parallel. Signals to the process
    group are ignored: the main process handles them by saving a checkpoint, and a worker that died
    would abort the run before. Only a SIGTERM from the main process ends a worker.
    """
    del worker
    cv2.setNumThreads(0)
    for number in set(STOP_SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # macOS, where any SIGTERM ends a worker
        return
    # blocked, so that the thread can find out which process sent it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_on_parent_sigterm, args=(os.getppid(),), daemon=True).start()


def _exit_on_parent_sigterm(parent: int) -> None:
    """Exit when the parent process sends SIGTERM."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(signal_exit_code(signal.SIGTERM))
