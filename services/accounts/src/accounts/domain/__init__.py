"""Rules of users, sessions, scopes and TikTok accounts: pure, no I/O."""
