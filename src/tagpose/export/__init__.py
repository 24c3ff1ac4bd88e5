"""The network for programs that have no torch, and what turns its outputs into people there."""
