"""One verb each, in one transaction that the edge hands in and commits."""
