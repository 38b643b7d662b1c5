"""Answers to commands."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Problem


class Reply(BaseModel):
    """What the gateway turns into an HTTP response; for refusals `body` is problem details (RFC 9457).

    An answer that is not `replayable` (the handler changed nothing) is kept as a refusal is; it does not travel with the answer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: int
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    replayable: bool = Field(default=True, exclude=True)

    @classmethod
    def of_problem(cls, problem: Problem) -> "Reply":
        """Return the refusal as a reply."""
        return cls(status=problem.status, body=problem.to_body(), headers=problem.headers)
