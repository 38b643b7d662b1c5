"""What the gateway calls: object storage and the other services."""
