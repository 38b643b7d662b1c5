"""A publisher that dies, or hangs, where a test says; the only build in which crash points do something."""
