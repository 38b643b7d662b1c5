"""Answers to commands."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from common.errors import Problem


class Reply(BaseModel):
    """What the gateway turns into an HTTP response; for refusals `body` is problem details (RFC 9457)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: int
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}

    @classmethod
    def of_problem(cls, problem: Problem) -> "Reply":
        """Return the refusal as a reply."""
        return cls(status=problem.status, body=problem.to_body(), headers=problem.headers)
