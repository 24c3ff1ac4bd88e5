"""From files to batches: annotations, augmentation, the synthetic set."""
