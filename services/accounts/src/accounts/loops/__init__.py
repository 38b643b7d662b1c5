"""What the service does by itself when it is due."""
