"""Typed client of TikTok's OAuth, display and posting APIs; no database, no broker."""
