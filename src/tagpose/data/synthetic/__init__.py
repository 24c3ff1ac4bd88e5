"""Synthetic people with exact ground truth, for the demo and the tests."""

from tagpose.data.synthetic.coco_writer import SYNTHETIC_DESCRIPTION, write_synthetic_dataset

__all__ = ["SYNTHETIC_DESCRIPTION", "write_synthetic_dataset"]
