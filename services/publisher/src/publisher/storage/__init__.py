"""All SQL of the publisher."""
