"""A multipart/form-data body with exactly one file, read as it arrives (RFC 7578)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from common.errors import FieldError, Problem
from gateway.api.file_content import FileContent

FIELD = "file"
BLOCK_BYTES = 1024 * 1024
MAX_PART_HEADERS = 8
MAX_HEADER_BYTES = 4096
MAX_EPILOGUE_BYTES = 64 * 1024
_NAME_LENGTH = 255
_HEADERS_END = b"\r\n\r\n"
_MAX_HEAD_BYTES = 2 * MAX_PART_HEADERS * MAX_HEADER_BYTES
"""More than any part's headers may have: the parser then says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """What the part's headers say: the file's name without any folder, and its declared type ("" when there is none)."""

    filename: str
    content_type: str


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a Content-Type header.

    Raises `Problem` 415 when it is not multipart/form-data, 400 when the boundary is missing or not 1 to 70 characters long.
    """
    essence, options = parse_options_header(content_type)
    if essence != b"multipart/form-data":
        raise Problem(
            415,
            "unsupported_media_type",
            "An upload is a multipart/form-data body.",
            hint=f"Send the file as the form field `{FIELD}`.",
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise malformed("The Content-Type header names no usable boundary.")
    return boundary


def malformed(detail: str) -> Problem:
    """Return the 400 for a body that is not well-formed multipart."""
    return Problem(400, "malformed_multipart", detail)


def _unexpected(code: str, field: str, message: str) -> Problem:
    return Problem(422, "invalid_upload", message, errors=[FieldError(field, code, message)])


def _filename(raw: bytes) -> str:
    name = raw.decode("utf-8", errors="replace").replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(character for character in name if character.isprintable()).strip()
    return clean[:_NAME_LENGTH] or "upload"


class MultipartFile:
    """Reads the one file of a body from `source`; holds at most one block and one chunk of the source in memory.

    Call `open` once, then iterate `blocks` to its end: only that proves that the body is complete and holds nothing else. The
    parser sees all but the file's content: that is searched for its end in large pieces, which is several times as fast.
    """

    def __init__(self, source: AsyncIterator[bytes], boundary: bytes) -> None:
        self._source = source
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        self._part: FilePart | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._rest = b""
        self._delimiter = b"\r\n--" + boundary
        self._ended = False
        self._epilogue = 0

    async def open(self) -> FilePart:
        """Read up to the file's content; raises `Problem` 400 or 422 when the body holds no such file first."""
        while True:
            end = self._rest.find(_HEADERS_END)
            if end >= 0:
                self._take_headers(end + len(_HEADERS_END))
                if self._part is not None:
                    return self._part
                continue
            if len(self._rest) > _MAX_HEAD_BYTES:
                self._take_headers(len(self._rest) - len(_HEADERS_END) + 1)
            chunk = await anext(self._source, None)
            if chunk is None:
                self._take_headers(len(self._rest))
                raise _unexpected("missing", FIELD, f"The form has no field `{FIELD}`.") if self._ended else _incomplete()
            self._rest += chunk

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the content in blocks of at least `BLOCK_BYTES`, the last one of what is left.

        Raises `Problem` 400 when the body ends early or is malformed, 422 when another part follows.
        """
        content = FileContent(self._delimiter)
        chunk: bytes | None = self._rest
        while chunk is not None:
            after = content.add(chunk)
            if after is not None:
                break
            if content.size >= BLOCK_BYTES:
                yield content.take()
            chunk = await anext(self._source, None)
        else:
            raise _incomplete()
        if content.size:
            yield content.take()
        self._feed(self._delimiter + after)
        async for chunk in self._source:
            self._feed(chunk)
        if not self._ended:
            raise _incomplete()

    def _take_headers(self, length: int) -> None:
        head, self._rest = self._rest[:length], self._rest[length:]
        self._feed(head)

    def _feed(self, chunk: bytes) -> None:
        if self._ended:
            self._epilogue += len(chunk)
            if self._epilogue > MAX_EPILOGUE_BYTES:
                raise malformed("The body goes on after its last boundary.")
            return
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise malformed(f"The body is not well-formed multipart: {error}.") from None

    def _on_part_begin(self) -> None:
        if self._part is not None:
            raise _unexpected("unexpected", "", f"The form holds more than the one field `{FIELD}`.")
        self._headers.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise malformed("A part has no form-data disposition with a name.")
        name = options[b"name"].decode("utf-8", errors="replace")
        if name != FIELD:
            raise _unexpected("unexpected", name[:100], f"The form holds a field other than `{FIELD}`.")
        if b"filename" not in options:
            raise _unexpected("not_a_file", FIELD, f"The field `{FIELD}` carries no filename, so it is not a file.")
        content_type = self._headers.get(b"content-type", b"").decode("latin-1").strip()
        self._part = FilePart(_filename(options[b"filename"]), content_type[:_NAME_LENGTH])

    def _on_end(self) -> None:
        self._ended = True


def _incomplete() -> Problem:
    return Problem(400, "incomplete_body", "The body ended before its last boundary.")
