"""Settings of a publisher with crash points."""

from pathlib import Path

from publisher.settings import Settings


class CrashingSettings(Settings):
    """Those of a publisher, and where it dies: at `crash_point`, or at one that a file in `crash_points_folder` is named after."""

    crash_point: str = ""
    crash_points_folder: Path | None = None
