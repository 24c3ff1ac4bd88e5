"""Predictions in the formats of other programs, converted by pure functions `to_*`.

`tagpose.inference.result_writers` writes the files during prediction.
"""
