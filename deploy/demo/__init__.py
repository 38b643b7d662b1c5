"""The main job, done for real against the running local stack: see `python -m demo`."""
