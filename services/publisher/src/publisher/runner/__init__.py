"""Runs one claimed job from its checkpoint as far as it goes."""
