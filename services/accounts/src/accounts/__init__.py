"""Users, sessions, API keys, TikTok accounts and their encrypted tokens."""
