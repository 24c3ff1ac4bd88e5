"""Videos: their frames, who is who from frame to frame, and drawn ones."""
