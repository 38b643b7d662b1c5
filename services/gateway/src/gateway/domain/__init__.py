"""Pure rules of the edge: no framework, no network."""
