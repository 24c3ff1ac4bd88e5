"""The network and how weights come into it."""
