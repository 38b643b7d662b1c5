"""Calls to TikTok."""
