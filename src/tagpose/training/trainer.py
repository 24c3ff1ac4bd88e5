"""Trainer with automatic precision and accelerator, and atomic checkpoints."""

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
    """Return a Trainer for the available hardware.

    Args:
        precision: "auto" (bf16 if the hardware supports it, else float32) or a Lightning precision.
        accelerator: "auto" (CUDA if available, else the CPU) or a Lightning accelerator.
            Lightning's own "auto" also selects Apple GPUs, which have no float64.
        strategy: a Lightning strategy; "ddp" uses the options of `_make_ddp`.
        options: further options of Lightning's Trainer.
    """
    if accelerator == "auto":
        accelerator = select_device(None).type
    options["accelerator"] = accelerator
    if precision == "auto":
        options["precision"] = "bf16-mixed" if supports_bf16(accelerator) else "32-true"
    else:
        options["precision"] = precision
    options["strategy"] = _make_ddp() if strategy == "ddp" else strategy
    # the data module distributes images to processes itself, without repeating any
    return Trainer(use_distributed_sampler=False, plugins=[AtomicCheckpointIO()], **options)


def _make_ddp() -> DDPStrategy:
    """Return the DDP strategy with less communication and memory.

    Buffers are not broadcast before each batch, because BatchNorm does not use its running
    statistics in training; `PartAPCallback` broadcasts those of rank 0 before a validation.
    Gradients are views of DDP's communication buckets, which saves a copy and its memory.
    `static_graph` stays off: with accumulated batches it fails (PyTorch issue 143580).
    """
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def supports_bf16(accelerator: str) -> bool:
    """Return whether an accelerator multiplies bf16 faster than float32."""
    if accelerator in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # emulated bf16 is slower than float32, so AMX is required; older torch cannot detect it
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return accelerator == "cpu" and bool(capabilities.get("amx_bf16"))


def trainer_devices(device: torch.device, count: int) -> str:
    """Return the value of `trainer.devices`: the GPUs from the index of the device on, or a count.

    Args:
        device: first device, such as cuda:1; cuda is cuda:0.
        count: number of devices.
    """
    if device.type != "cuda":
        return str(count)
    first = device.index or 0
    return f"[{','.join(map(str, range(first, first + count)))}]"
