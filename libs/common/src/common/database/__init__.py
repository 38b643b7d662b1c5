"""PostgreSQL: sessions with the commit at the edge, shared tables, migrations."""

from common.database.database import Database, Transaction

__all__ = ["Database", "Transaction"]
