"""Secrets at rest and in transit: passwords, sealed tokens, opaque tokens, signing keys."""
