"""Shapes that many routes share."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class FieldProblem(BaseModel):
    """One invalid input field."""

    field: str = Field(examples=["caption"])
    code: str
    message: str
    hint: str | None = None


class ProblemBody(BaseModel):
    """A refusal or failure (RFC 9457); `code` is for programs, `detail` for people."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field(examples=["urn:cuepost:problem:invalid_request"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["invalid_request"])
    request_id: str | None = None
    hint: str | None = None
    errors: list[FieldProblem] = []


class EmptyBody(BaseModel):
    """No fields are taken."""

    model_config = ConfigDict(extra="forbid")


class PendingOperation(BaseModel):
    """The change will happen; ask its address for the answer."""

    status: Literal["pending"]
    operation_id: str
    location: str


class OperationAnswer(BaseModel):
    """What the change was answered with: status, headers and body as the request itself would have got them."""

    status: int
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = None


class Operation(BaseModel):
    """`pending` until the change was carried out or refused, then `done` with its answer.

    `hint` says what may be done about a change that has been pending for long.
    """

    status: Literal["pending", "done"]
    answer: OperationAnswer | None = None
    hint: str | None = None
