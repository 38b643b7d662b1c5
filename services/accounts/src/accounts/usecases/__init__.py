"""One verb per file, in one transaction handed in by the edge."""
