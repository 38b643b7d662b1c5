"""Logs without secrets, metrics on a port of their own."""
