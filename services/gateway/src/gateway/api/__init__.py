"""HTTP routes: decode, authorise, hand on, encode."""
