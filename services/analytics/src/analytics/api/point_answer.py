"""The points of a curve as CSV, where a client asks for that instead of JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fastapi import Response

from analytics.domain.file_formats import CSV_TYPE, csv_rows

PointFormat = Literal["json", "csv"]


def csv_points(columns: Sequence[str], points: Iterable[Mapping[str, Any]], *, name: str) -> Response:
    """Return points as a file of this name; each has the fields of `columns` in their order."""
    return Response(
        csv_rows([columns, *(point.values() for point in points)]),
        media_type=CSV_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
