"""Data sets: annotations, images, transforms, samplers and the LightningDataModule."""
