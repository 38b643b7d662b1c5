"""What analytics does: one verb per file, in a transaction that the edge opens and commits."""
