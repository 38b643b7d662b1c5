"""Internal HTTP of analytics."""
