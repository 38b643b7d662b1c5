"""All SQL of analytics."""
