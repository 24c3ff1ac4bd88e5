"""Export of networks to bundles that do not need torch."""
