"""Hyperparameter sweeps on one machine."""
