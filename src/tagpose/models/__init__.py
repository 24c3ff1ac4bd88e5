"""Networks, checkpoints and weight transfer."""
