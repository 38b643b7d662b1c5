"""All SQL of the accounts service."""
