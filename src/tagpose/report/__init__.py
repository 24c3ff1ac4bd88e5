"""HTML reports on COCO result files."""
