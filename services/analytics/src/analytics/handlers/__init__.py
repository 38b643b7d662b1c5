"""What arrives from the broker."""
