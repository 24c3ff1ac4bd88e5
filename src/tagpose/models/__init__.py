"""Networks, their checkpoints and weight transfer."""
