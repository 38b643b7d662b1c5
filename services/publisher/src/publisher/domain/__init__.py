"""What to do when and why: pure decisions, no input or output."""
