"""What runs by itself: job lanes, the heartbeat of leases, retention."""
