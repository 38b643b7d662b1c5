"""Breaks a stack of its own at every point, and at random, and judges by TikTok's ledger what it promised."""
