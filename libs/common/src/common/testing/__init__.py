"""Helpers of the tests of every member: real servers, fresh databases, keys, waiting for conditions."""
