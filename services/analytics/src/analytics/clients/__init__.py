"""Calls to other services and to TikTok."""
