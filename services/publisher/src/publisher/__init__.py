"""Talks to TikTok's posting API: leased jobs, checkpoints, exactly one publication."""
