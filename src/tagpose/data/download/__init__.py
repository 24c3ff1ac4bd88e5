"""Download of COCO and COCO-WholeBody."""
