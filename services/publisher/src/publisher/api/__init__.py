"""Internal HTTP: progress and cancelling, for the scheduler."""
