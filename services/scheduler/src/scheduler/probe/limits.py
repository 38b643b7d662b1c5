"""What one probe may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """`seconds` of processor time (three times as much by the wall clock) and bytes of address space."""

    seconds: float = 20.0
    memory_bytes: int = 1024 * 1024 * 1024

    @property
    def wall_seconds(self) -> float:
        """After how long the child is killed, however little it computes."""
        return self.seconds * 3
