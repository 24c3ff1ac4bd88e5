"""From people to average precision per part."""
