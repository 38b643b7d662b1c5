"""Calls to TikTok, to accounts and to object storage."""
