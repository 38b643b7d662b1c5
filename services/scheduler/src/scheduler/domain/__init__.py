"""Pure rules of posts and media: no database, no broker, no clock of its own."""
