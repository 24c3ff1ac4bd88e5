"""The decoder of a network in training."""

from dataclasses import replace

from lightning import LightningModule

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.model.network import PoseNetwork


def as_learned(
    decoder: AssociativeEmbeddingDecoder, module: LightningModule
) -> AssociativeEmbeddingDecoder:
    """Return a decoder of the outputs of the module's network."""
    network: PoseNetwork = module.network  # type: ignore[assignment] # of our module
    return replace(decoder, **network.decoder_options)
