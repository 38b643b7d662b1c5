"""Schema of the publisher's database; run by `python -m common.database.migrate publisher`."""
