"""TikTok on localhost: strict, with a ledger and fault injection."""
