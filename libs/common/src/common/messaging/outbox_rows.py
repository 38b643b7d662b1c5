"""SQL of the outbox table: writing rows, taking them out, putting them back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Row, Table, Text, Uuid, bindparam, delete, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

MAX_PUT_OFF_S = 300


async def write(connection: AsyncConnection, table: Table, exchange: str, rows: Sequence[tuple[UUID, str, bytes]]) -> None:
    """Write messages (id, routing key, body) in one statement, which is the same for every number of them."""
    values = (
        func.unnest(
            bindparam("ids", type_=ARRAY(Uuid)),
            bindparam("keys", type_=ARRAY(Text)),
            bindparam("bodies", type_=ARRAY(LargeBinary)),
        )
        .table_valued("id", "routing_key", "body", name="given")
        .render_derived()
    )
    chosen = select(values.c.id, literal(exchange, Text), values.c.routing_key, values.c.body)
    statement = insert(table).from_select(["id", "exchange", "routing_key", "body"], chosen)
    ids, keys, bodies = zip(*rows, strict=True)
    await connection.execute(statement, {"ids": list(ids), "keys": list(keys), "bodies": list(bodies)})


async def take(connection: AsyncConnection, table: Table, *, limit: int) -> Sequence[Row[Any]]:
    """Remove up to `limit` rows that may go and return them, in no order; rows in another's hands are passed over.

    Until the transaction ends, nobody else sees them, and a rollback brings them back.
    """
    may_go = or_(table.c.not_before.is_(None), table.c.not_before <= func.now())
    # As an array the choice is made once; as a subquery the planner might make it again.
    chosen = select(table.c.id).where(may_go).order_by(table.c.id).limit(limit).with_for_update(skip_locked=True)
    statement = delete(table).where(table.c.id == func.any(func.array(chosen.scalar_subquery()))).returning(table)
    return (await connection.execute(statement)).all()


async def put_back(connection: AsyncConnection, table: Table, rows: Sequence[Row[Any]]) -> None:
    """Put rows back as they were."""
    if rows:
        await connection.execute(insert(table), [_values(table, row) for row in rows])


async def put_off(connection: AsyncConnection, table: Table, rows: Sequence[Row[Any]]) -> None:
    """Put back rows that the broker refused; they wait from a second to five minutes, doubling with each refusal."""
    for row in rows:
        seconds = min(2**row.refusals, MAX_PUT_OFF_S)
        values = _values(table, row) | {
            "refusals": row.refusals + 1,
            "not_before": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
        }
        await connection.execute(insert(table).values(values))


def _values(table: Table, row: Row[Any]) -> dict[str, Any]:
    return dict(zip(table.c.keys(), row, strict=True))
