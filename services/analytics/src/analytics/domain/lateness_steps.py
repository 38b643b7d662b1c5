"""Lateness in steps of 2 %, so that it can be counted by day and added up; a percentile is then right within 1 %.

The same idea as DDSketch (Masson, Rim and Lee, VLDB 2019): steps of a constant ratio keep the relative error of any percentile.
"""

from collections.abc import Mapping

SMALLEST_MS = 0.01
LARGEST_MS = 1e12
RATIO = 1.02


def milliseconds(step: int) -> float:
    """Return what stands for a step: the middle between SMALLEST_MS * RATIO ** (step - 1) and ** step; 0 for step 0."""
    return SMALLEST_MS * RATIO ** (step - 0.5) if step > 0 else 0.0


def percentile(counts: Mapping[int, int], part: float) -> float | None:
    """Return the lateness of the post at `part` (0 to 1) of the way from the least to the most late, None without any.

    `counts` tells how many posts are in each step.
    """
    place = part * (sum(counts.values()) - 1)
    seen = 0
    for step in sorted(counts):
        seen += counts[step]
        if seen > place:
            return milliseconds(step)
    return None
