"""Alembic environment shared by all services; the connection and its transaction come from `common.database.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
