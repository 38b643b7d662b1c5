"""Handlers of messages."""
