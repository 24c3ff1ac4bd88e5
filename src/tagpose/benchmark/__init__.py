"""Benchmarks of training, inference, decoding and data loading."""
