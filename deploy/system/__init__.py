"""Driving a whole running stack from a test: post, watch, break, heal, judge by the ledger."""
