"""COCO-WholeBody evaluation: OKS, matching, average precision per part."""
