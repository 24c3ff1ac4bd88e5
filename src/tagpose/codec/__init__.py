"""Encoding keypoints as heatmaps and tags, and decoding heatmaps and tags to poses."""
