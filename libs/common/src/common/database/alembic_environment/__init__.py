"""Alembic environment shared by all services."""
