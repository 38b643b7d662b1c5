"""Internal HTTP of the scheduler: what the gateway passes on to users."""
