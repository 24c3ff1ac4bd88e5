"""Datasets: annotations, images, transforms, samplers and the LightningDataModule."""
