"""`make schemas`: the events as documents, made from the contracts: JSON Schemas, AsyncAPI, docs/events.md."""
