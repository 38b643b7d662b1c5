"""Arms the publisher's crash points: the first replica that reaches an armed one dies there, once."""

from pathlib import Path


class CrashFolder:
    """The folder that every replica looks into, see `system.crashing`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str) -> None:
        """Let the next process that reaches the point die."""
        (self._folder / point).touch()

    def armed(self) -> list[str]:
        """Return the points that nobody has reached yet."""
        return sorted(path.name for path in self._folder.iterdir())

    def disarm(self) -> None:
        """Let nobody die any more."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)
