"""RabbitMQ: topology, brokers, outbox and relay, inbox, consumers, commands and their replies."""
