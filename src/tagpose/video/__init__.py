"""Videos: reading frames, following people from frame to frame, smoothing, writing."""
