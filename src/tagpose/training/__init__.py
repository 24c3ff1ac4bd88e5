"""What Lightning runs: the module, its schedule, its callbacks."""
