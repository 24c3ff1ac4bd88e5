"""Skeletons: keypoints, parts, bones, sigmas and flip pairs."""
