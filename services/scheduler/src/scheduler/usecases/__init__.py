"""What the scheduler does, one verb per file and one transaction each, handed in by the edge."""
