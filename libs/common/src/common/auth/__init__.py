"""Who is calling: user tokens (JWKS of accounts) and service tokens (short-lived, own audience)."""
