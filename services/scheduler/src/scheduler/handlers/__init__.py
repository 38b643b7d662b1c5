"""Commands and events that come in over RabbitMQ."""
