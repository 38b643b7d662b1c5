"""What comes in over RabbitMQ."""
