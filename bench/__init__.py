"""Benchmarks: figures about the real programs, printed as tables. Nothing here is a test."""
