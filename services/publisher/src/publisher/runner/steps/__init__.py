"""The steps of a job: each does its calls, checkpoints as it goes, and returns how it ended."""
