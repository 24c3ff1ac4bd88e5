"""What the network should draw, and what can be read from its drawing: twins, side by side."""
