"""Programs to begin with, for whoever reads Cuepost's events."""
