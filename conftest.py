"""Fixtures for all members: real PostgreSQL and RabbitMQ, fresh databases, keys."""

pytest_plugins = ["common.testing.plugin"]
