"""What the gateway hears from the broker."""
