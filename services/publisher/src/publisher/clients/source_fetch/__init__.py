"""Fetching a file from an address that a client named: public hosts only, resumed when the connection breaks."""
