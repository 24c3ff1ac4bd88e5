"""Timing of the network, data loading and decoding."""
