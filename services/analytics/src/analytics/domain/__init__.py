"""Pure meaning of events: what they are in the audit trail and in a post's timeline."""
