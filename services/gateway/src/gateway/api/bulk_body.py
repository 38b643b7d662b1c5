"""The body of POST `/posts/bulk`: JSON or CSV, read into a command row by row."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import Request
from pydantic import ValidationError

from common.contracts.scheduler import MAX_ROWS, CreatePosts, GivenFields, PostFields, Row, RowProblem
from common.errors import FieldError, Problem
from common.http.json_response import JSON_TYPE
from common.http.problems import field_errors
from gateway.api.commanding import read_body
from gateway.api.models.posts import BulkOptions, BulkPosts, PostPatch
from gateway.domain.bulk_csv import MalformedCsv, read_csv

CSV_TYPE = "text/csv"
MAX_COMMAND_BYTES = 5_000_000
"""Of the rows as JSON in UTF-8: 500 of the longest captions with all other fields. With its envelope the command must fit into a
message; the body is capped before, but CSV grows when its line ends, quotes and controls are escaped."""
MAX_ROW_PROBLEMS = 10
_FIELDS = frozenset(PostFields.model_fields)


async def read_bulk(request: Request) -> CreatePosts:
    """Return the command; a row that cannot be read as a post is told in its verdict and refuses no other.

    `mode` and `dry_run` are members of a JSON body, or query parameters (which a JSON body's own override). Raises `Problem`
    415 for another type, 422 `invalid_request` or `invalid_csv` for a body that has no rows to speak of.
    """
    options = _options(request)
    content_type = request.headers.get("content-type", JSON_TYPE).lower()
    if content_type.split(";")[0].strip() == CSV_TYPE:
        rows: Sequence[Any] = _csv_rows(await request.body())
    elif "json" in content_type:
        body = await read_body(request, BulkPosts)
        rows = body.posts
        options = options.model_copy(update=body.model_dump(include={"mode", "dry_run"}, exclude_unset=True))
    else:
        raise Problem(415, "unsupported_media_type", "The body must be JSON or CSV.", hint=f"Send {JSON_TYPE} or {CSV_TYPE}.")
    read = [_read_row(number, row) for number, row in enumerate(rows, start=1)]
    command = CreatePosts(rows=read, mode=options.mode, dry_run=options.dry_run)
    if len(command.model_dump_json().encode()) > MAX_COMMAND_BYTES:
        raise Problem(413, "body_too_large", "The rows are too large to be taken together.", hint="Send them in two batches.")
    return command


def _options(request: Request) -> BulkOptions:
    try:
        return BulkOptions.model_validate(dict(request.query_params))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Problem(422, "invalid_request", "The request is not valid.", errors=field_errors(found)) from None


def _csv_rows(body: bytes) -> Sequence[Any]:
    try:
        rows = read_csv(body, columns=_FIELDS, max_rows=MAX_ROWS)
    except MalformedCsv as error:
        raise _invalid_csv(str(error)) from None
    if not rows:
        raise _invalid_csv("There are no rows.")
    return rows


def _invalid_csv(detail: str) -> Problem:
    hint = "Columns are the fields of a post; docs/posts.md has an example."
    return Problem(422, "invalid_csv", detail, hint=hint, errors=[FieldError("body", "invalid_csv", detail)])


def _read_row(number: int, row: Any) -> Row:
    try:
        post = PostPatch.model_validate_json(orjson.dumps(row), strict=True)
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        return Row(row=number, problems=[_told(item) for item in errors[:MAX_ROW_PROBLEMS]])
    return Row(row=number, post=GivenFields.model_construct(_fields_set=post.model_fields_set, **dict(post)))


def _told(error: FieldError) -> RowProblem:
    return RowProblem(field=error.field or "row", code=error.code, message=error.message)
