"""This file makes Lightning's Trainer for the machine at hand."""

from typing import Any

import torch
from lightning import Trainer


def make_trainer(*, precision: str = "auto", **options: Any) -> Trainer:
    """A Trainer whose precision is "auto": bf16 on a GPU that has it, float32 elsewhere.

    Args:
        precision: "auto", or one of Lightning's.
        options: of Lightning's Trainer; one that it does not know is an error.
    """
    if precision == "auto":
        on_gpu = options.get("accelerator", "auto") in ("auto", "gpu", "cuda")
        on_gpu = on_gpu and torch.cuda.is_available()
        bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
        options["precision"] = "bf16-mixed" if bf16 else "32-true"
    else:
        options["precision"] = precision
    # the data module shares the images among processes itself, without repeating any
    return Trainer(use_distributed_sampler=False, **options)
