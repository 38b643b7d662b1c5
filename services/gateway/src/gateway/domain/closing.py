"""Why a live stream ends, told in its last event."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Closing:
    """The data of the event `closed`: a code for programs, a sentence, and whether to come again.

    `at_once`: the user may have no right to what is on its way, so a client that does not take it gets no time to.
    """

    code: str
    message: str
    reconnect: bool
    at_once: bool = False

    @property
    def data(self) -> dict[str, object]:
        """The event's data."""
        return {"code": self.code, "message": self.message, "reconnect": self.reconnect}


TOO_SLOW = Closing("too_slow", "The stream was read too slowly; connect again with Last-Event-ID to go on.", reconnect=True)
RESTARTING = Closing("restarting", "This gateway is being restarted; connect again with Last-Event-ID.", reconnect=True)
UNKNOWN_RIGHTS = Closing(
    "authentication_unavailable",
    "Tokens cannot be checked at the moment; connect again in a few seconds.",
    reconnect=True,
    at_once=True,
)
REVOKED = Closing("session_revoked", "The session or API key of this stream was revoked.", reconnect=False, at_once=True)


def refused(code: str, message: str) -> Closing:
    """Return the end of a stream whose token is not good any more."""
    return Closing(code, message, reconnect=False, at_once=True)
