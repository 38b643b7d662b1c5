"""How many bytes a second the uploads of a replica send together."""

from aiolimiter import AsyncLimiter

SLICE_BYTES = 64 * 1024
"""Taken one by one, so that uploads take turns."""


class UploadBandwidth:
    """A token bucket shared by all uploads of the replica; 0: no limit. At most a second's worth of bytes goes out at once."""

    def __init__(self, bytes_per_second: int) -> None:
        self._limiter = AsyncLimiter(bytes_per_second / SLICE_BYTES, time_period=1.0) if bytes_per_second else None

    async def take(self, size: int) -> None:
        """Wait until so many bytes may be sent."""
        if self._limiter is None:
            return
        for _ in range(-(-size // SLICE_BYTES)):
            await self._limiter.acquire()
