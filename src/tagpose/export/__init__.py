"""Export of networks to bundles that need no torch."""
