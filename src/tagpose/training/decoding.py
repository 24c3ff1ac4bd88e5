"""This file decodes while a network trains."""

from dataclasses import replace

from lightning import LightningModule

from tagpose.codec.decode import Decoder
from tagpose.model.network import PoseNetwork


def as_learned(decoder: Decoder, module: LightningModule) -> Decoder:
    """A decoder that reads peaks where the network of our module learns them."""
    network: PoseNetwork = module.network  # type: ignore[assignment] # of our module
    return replace(decoder, sub_cell=network.sub_cell)
