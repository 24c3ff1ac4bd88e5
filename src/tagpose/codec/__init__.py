"""Encoder and decoder: from keypoints to target heatmaps, and from network outputs to poses."""
