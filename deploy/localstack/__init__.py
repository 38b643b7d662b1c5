"""The local stack: PostgreSQL, RabbitMQ, the TikTok simulator and the five services on this machine, without Docker."""
