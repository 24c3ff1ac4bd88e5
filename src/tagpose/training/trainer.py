"""This file makes Lightning's Trainer for the machine at hand."""

from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy

from tagpose.inference.predictor_arguments import select_device
from tagpose.training.checkpoint_io import AtomicCheckpointIO


def make_trainer(
    *,
    precision: str = "auto",
    accelerator: str = "auto",
    strategy: str | Strategy = "auto",
    **options: Any,
) -> Trainer:
    """A Trainer whose precision is "auto": bf16 on hardware that has it, float32 elsewhere.

    Args:
        precision: "auto", or one of Lightning's.
        accelerator: "auto" for CUDA where there is a GPU of it, the CPU elsewhere; or one of
            Lightning's. (Its own "auto" takes Apple's GPUs, which have no float64.)
        strategy: one of Lightning's; "ddp" does not broadcast buffers before each batch, because
            BatchNorm does not use its running statistics in training. `PartAPCallback` broadcasts those of
            rank 0 before a validation.
        options: of Lightning's Trainer; one that it does not know is an error.
    """
    if accelerator == "auto":
        accelerator = select_device(None).type
    options["accelerator"] = accelerator
    if precision == "auto":
        options["precision"] = "bf16-mixed" if supports_bf16(accelerator) else "32-true"
    else:
        options["precision"] = precision
    options["strategy"] = DDPStrategy(broadcast_buffers=False) if strategy == "ddp" else strategy
    # the data module shares the images among processes itself, without repeating any
    return Trainer(use_distributed_sampler=False, plugins=[AtomicCheckpointIO()], **options)


def supports_bf16(accelerator: str) -> bool:
    """Whether what a Trainer runs on multiplies bf16 faster than float32."""
    if accelerator in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # emulation is slower than float32, so only matrix units count; older torch cannot tell
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return accelerator == "cpu" and bool(capabilities.get("amx_bf16"))
