"""Entry points shared by all programs: errors, console output, subprograms."""
