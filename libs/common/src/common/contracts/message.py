"""Base classes of what travels: events state what happened, commands ask for something."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Body (`data`) of an envelope.

    Consumers ignore fields they do not know, so producers may add optional ones; a breaking change is a new class with a
    `.v2` key beside the old one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    KEY: ClassVar[str] = ""

    def to_data(self) -> dict[str, Any]:
        """Return the JSON-ready object for the envelope's `data`."""
        return self.model_dump(mode="json")


class Event(Message):
    """Something that happened; routing key `<service>.<entity>.<past>.v1` on `cuepost.events`."""


class Command(Message):
    """Something asked for; routing key `<service>.<verb_noun>.v1` on `cuepost.commands`, published mandatory."""
