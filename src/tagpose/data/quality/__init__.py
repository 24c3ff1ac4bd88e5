"""Checks and statistics of a data set, and copies without faulty images."""
