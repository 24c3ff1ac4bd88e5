"""Checks and statistics of a data set, clean copies, and sample selection."""
