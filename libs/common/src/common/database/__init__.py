"""PostgreSQL: sessions with the commit at the edge, shared tables, migrations."""

from sqlalchemy.ext.asyncio import AsyncConnection as Connection

from common.database.database import Database, Driver, Transaction

__all__ = ["Connection", "Database", "Driver", "Transaction"]
