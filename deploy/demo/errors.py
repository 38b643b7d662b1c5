"""What can go wrong with a demonstration."""


class DemoError(Exception):
    """The main job did not end as promised; the message says where."""
