"""All SQL of the scheduler."""
