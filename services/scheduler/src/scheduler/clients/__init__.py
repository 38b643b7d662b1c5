"""Calls to other services and to object storage."""
