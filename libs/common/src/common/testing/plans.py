"""How PostgreSQL runs what a service sends it.

They are prepared statements: the first five times each is planned for its values, and from then on PostgreSQL goes on with one plan
for any values if it takes that to be no worse. So both have to do.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.event import listen, remove
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database

MODES = ("force_custom_plan", "force_generic_plan")


@dataclass(frozen=True)
class Plan:
    """One statement's plan: the indexes it uses, with what each is asked for, and the tables it goes through from end to end."""

    statement: str
    mode: str
    indexes: dict[str, str]
    whole_tables: frozenset[str]

    @classmethod
    def of(cls, statement: str, mode: str, root: dict[str, Any]) -> "Plan":
        """Return what matters of PostgreSQL's plan."""
        nodes = list(_nodes(root))
        indexes = {node["Index Name"]: node.get("Index Cond", "") for node in nodes if "Index Name" in node}
        return cls(
            statement, mode, indexes, frozenset(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan")
        )


async def plans_of(database: Database, work: Callable[[AsyncConnection], Awaitable[object]]) -> list[Plan]:
    """Do the work in a transaction, and return two plans of each statement it sent, in order: for its values, and for any."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    plans: list[Plan] = []
    async with database.transaction() as tx:
        # Not the engine: the service's own loops use it meanwhile.
        connection = tx.connection.sync_connection
        listen(connection, "before_cursor_execute", note)
        try:
            await work(tx.connection)
        finally:
            remove(connection, "before_cursor_execute", note)
        for statement, parameters in sent:
            await tx.driver.execute(f"PREPARE explained AS {statement}")
            values = f"({', '.join(map(_literal, parameters))})" if parameters else ""
            for mode in MODES:
                await tx.driver.execute(f"SET LOCAL plan_cache_mode = {mode}")
                found = await tx.driver.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained {values}")
                plans.append(Plan.of(statement, mode, (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]))
            await tx.driver.execute("DEALLOCATE explained")
    return plans


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]::text[]"
    if isinstance(value, timedelta):
        return f"make_interval(secs => {value.total_seconds()})"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"
