"""The shared language: the envelope, and the events and commands of each owning service."""
