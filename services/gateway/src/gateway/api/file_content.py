"""The content of a part as it arrives, up to the delimiter that ends it."""


class FileContent:
    """Collects chunks until the delimiter; what could be the beginning of one is held back until the next chunk tells."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._pieces: list[bytes | memoryview] = []
        self._held = b""
        self.size = 0

    def add(self, chunk: bytes) -> bytes | None:
        """Take a chunk; returns what follows the delimiter once it has come, None before."""
        if self._held:
            # A delimiter across two chunks: rare, and the only case that copies.
            chunk = self._held + chunk
            self._held = b""
        end = chunk.find(self._delimiter)
        if end >= 0:
            self._keep(chunk, end)
            return chunk[end + len(self._delimiter) :]
        sure = self._beginning_at(chunk)
        self._keep(chunk, sure)
        self._held = chunk[sure:]
        return None

    def take(self) -> bytes:
        """Return the content collected since the last call."""
        block = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return block

    def _keep(self, chunk: bytes, length: int) -> None:
        if length:
            self._pieces.append(chunk if length == len(chunk) else memoryview(chunk)[:length])
            self.size += length

    def _beginning_at(self, chunk: bytes) -> int:
        """Return where an unfinished delimiter at the end of `chunk` begins, its length when there is none."""
        at = max(0, len(chunk) - len(self._delimiter) + 1)
        while (at := chunk.find(b"\r", at)) >= 0:
            if self._delimiter.startswith(chunk[at:]):
                return at
            at += 1
        return len(chunk)
