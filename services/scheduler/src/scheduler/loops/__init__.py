"""What the scheduler does by itself when its time has come."""
