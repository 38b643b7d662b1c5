"""Plumbing that every Cuepost service needs unchanged; no business rules."""
