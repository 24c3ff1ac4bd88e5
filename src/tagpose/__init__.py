"""Bottom-up whole-body pose: HRNet and Associative Embedding."""

import os

# albumentations asks the network for a newer version of itself in every process that imports it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
