"""Checks and statistics of a dataset, clean copies, and sample selection."""
