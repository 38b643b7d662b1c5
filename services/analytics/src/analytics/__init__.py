"""Reads the event stream: audit trail, timelines, statistics."""
