"""Drawing of poses, heatmaps and training curves."""
