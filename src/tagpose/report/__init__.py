"""A page on a result file: scores, curves, errors by kind, the worst images, a second file too."""
