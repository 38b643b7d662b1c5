"""The public routes, one file per resource."""
