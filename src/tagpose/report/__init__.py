"""HTML reports on result files."""
