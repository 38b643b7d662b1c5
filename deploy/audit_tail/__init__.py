"""`make audit-tail`: events on the terminal, as they come."""
