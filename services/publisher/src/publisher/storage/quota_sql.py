"""The statement that takes one of a limit, in the versions that differ in who comes first."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, Boolean, Double, Integer, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP


class Line(StrEnum):
    """Who comes before the asker. Read from the jobs, so that one that ends, or waits for something else, holds nobody up."""

    NOBODY = "nobody"
    POSTS = "posts"
    """Jobs of the account that were due earlier and are about to begin."""
    CREATORS = "creators"
    """Other accounts of which a post that was due earlier waits for the same."""
    WAITERS = "waiters"
    """Jobs of the account that wait for the same; to one that has waited, only those whose time has come."""


_AHEAD = {
    Line.NOBODY: "SELECT 0 AS ahead",
    Line.POSTS: """
        SELECT count(*) AS ahead FROM publish_jobs AS earlier
        WHERE earlier.account_id = :account AND earlier.state IN ('queued', 'running')
          AND earlier.step IN ('queued', 'token', 'creator_info')
          AND (earlier.due_at, earlier.post_id) < (:due_at, :post_id)
          AND (:mode IS NULL OR earlier.post ->> 'mode' = :mode)
          AND NOT earlier.awaits_account AND earlier.id <> ALL (kept.takers)
          AND (earlier.lease_owner IS NOT NULL OR earlier.run_at <= clock.now OR earlier.awaits_quota = ANY (:waits))""",
    Line.CREATORS: """
        SELECT count(DISTINCT earlier.account_id) AS ahead FROM publish_jobs AS earlier
        WHERE earlier.awaits_quota = :name AND earlier.account_id <> :account
          AND (earlier.due_at, earlier.post_id) < (:due_at, :post_id)""",
    Line.WAITERS: """
        SELECT count(*) AS ahead FROM publish_jobs AS earlier
        WHERE earlier.account_id = :account AND earlier.awaits_quota = :name AND earlier.id <> :taker
          AND earlier.lease_owner IS NULL AND (NOT :waited OR earlier.run_at <= clock.now)""",
}

# Who asks at the same time waits for the row's lock, and what is computed from the row is computed again from its newest version.
_TAKE = """
    UPDATE tiktok_quotas AS quota SET (calls, takers, granted, ahead) = (
        SELECT CASE WHEN verdict.counts THEN array_append(kept.calls, clock.now) ELSE kept.calls END,
               CASE WHEN verdict.counts THEN array_append(kept.takers, :taker) ELSE kept.takers END,
               verdict.granted,
               line.ahead
        FROM (SELECT clock_timestamp() AS now OFFSET 0) AS clock
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(used.taker = :taker), false) AND :once AS held,
                   coalesce(array_agg(used.call ORDER BY used.call) FILTER (WHERE used.stays), '{}') AS calls,
                   coalesce(array_agg(used.taker ORDER BY used.call) FILTER (WHERE used.stays), '{}') AS takers
            FROM (
                SELECT one.call, one.taker, :peek OR NOT (:renewed AND one.taker = :taker) AS stays
                FROM unnest(quota.calls, quota.takers) AS one(call, taker)
                WHERE one.call > clock.now - make_interval(secs => :window)
                  AND NOT (:once AND EXISTS (
                      SELECT 1 FROM publish_jobs AS done
                      WHERE done.id = one.taker AND done.state IN ('failed', 'cancelled')))
            ) AS used
        ) AS kept
        CROSS JOIN LATERAL ({ahead}) AS line
        CROSS JOIN LATERAL (
            SELECT kept.held OR (
                coalesce(greatest(quota.not_before, {shared}) <= clock.now, true)
                AND cardinality(kept.calls) + line.ahead < :allowed
                AND (:gap = 0 OR line.ahead = 0 OR :waited)
                AND coalesce(kept.calls[cardinality(kept.calls)] + make_interval(secs => :gap) <= clock.now, true)
            ) AS granted
        ) AS rule
        CROSS JOIN LATERAL (
            SELECT rule.granted, rule.granted AND NOT :peek AND (:renewed OR NOT kept.held) AS counts
        ) AS verdict
    )
    WHERE quota.owner = :owner AND quota.name = :name
    RETURNING granted, calls, ahead, greatest(quota.not_before, {shared}) AS not_before, clock_timestamp() AS now"""

_SHARED = "(SELECT app.not_before FROM tiktok_quotas AS app WHERE app.owner = :shared AND app.name = :name)"
"""What was learned for all owners together; null for a limit that each has for itself."""

_PARAMETERS: tuple[BindParameter[Any], ...] = (
    *(bindparam(name, type_=Uuid()) for name in ("taker", "account", "post_id")),
    *(bindparam(name, type_=Boolean()) for name in ("once", "renewed", "peek", "waited")),
    *(bindparam(name, type_=Text()) for name in ("owner", "name", "mode", "shared")),
    *(bindparam(name, type_=Double()) for name in ("window", "gap")),
    bindparam("allowed", type_=Integer()),
    bindparam("due_at", type_=TIMESTAMP(timezone=True)),
    bindparam("waits", type_=ARRAY(Text())),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the names of its parameters."""

    sql: TextClause
    names: frozenset[str]


def _statement(ahead: str) -> Statement:
    sql = _TAKE.replace("{ahead}", ahead).replace("{shared}", _SHARED)
    used = [parameter for parameter in _PARAMETERS if f":{parameter.key}" in sql]
    return Statement(text(sql).bindparams(*used), frozenset(parameter.key for parameter in used))


TAKE = {line: _statement(ahead) for line, ahead in _AHEAD.items()}

BEGIN = text("INSERT INTO tiktok_quotas (owner, name) VALUES (:owner, :name) ON CONFLICT DO NOTHING")

LEARN = text(
    """
    INSERT INTO tiktok_quotas AS quota (owner, name, not_before)
    VALUES (:owner, :name, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (owner, name) DO UPDATE SET not_before = greatest(quota.not_before, excluded.not_before),
        (calls, takers) = (
            SELECT coalesce(array_agg(one.call ORDER BY one.call), '{}'), coalesce(array_agg(one.taker ORDER BY one.call), '{}')
            FROM unnest(quota.calls, quota.takers) AS one(call, taker)
            WHERE one.taker IS DISTINCT FROM :back)
    """
).bindparams(
    bindparam("owner", type_=Text()),
    bindparam("name", type_=Text()),
    bindparam("seconds", type_=Double()),
    bindparam("back", type_=Uuid()),
)
"""Nothing is given out before that moment, whatever was counted: TikTok knows of more than we do."""
