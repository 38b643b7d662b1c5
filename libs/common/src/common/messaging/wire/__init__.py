"""The busiest bytes between us and RabbitMQ, written and read by ourselves on a connection of the client library."""
