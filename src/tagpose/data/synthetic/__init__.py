"""Drawn people with exact truth: the demo's data, and the tests'."""

from tagpose.data.synthetic.writing import DESCRIPTION, write_synthetic

__all__ = ["DESCRIPTION", "write_synthetic"]
