"""What can go wrong with a demonstration."""


class DemoError(Exception):
    """The main job did not end as promised; the message says where."""


class NoSimulatorError(DemoError):
    """The stack publishes to the real TikTok, where a demonstration has no place."""
