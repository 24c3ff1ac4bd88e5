"""Predictions in the formats of other programs: one module per family, pure functions `to_*`.

`tagpose.inference.result_writers` writes them to files while images are predicted.
"""
