"""Pose estimation in videos: reading, tracking, smoothing, writing."""
