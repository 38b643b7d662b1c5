"""Named points at which a test lets the process die, or hang, to show what a replica that takes over finds.

Here nothing happens there: what dies is a program of the tests (`deploy/crashing_publisher`), which no image and no `make up` has.

mid_fetch            half of a file has come from its address
after_fetch          the whole file is in storage, nothing of it is checkpointed
after_fetch_stored   its sha256 is checkpointed
after_init_intent    the intent of an init is stored, the call not made
init_checked         the lease was good a moment ago, the init goes out now
after_init_answer    TikTok answered the init, nothing of it is stored
after_cancel_answer  TikTok agreed to give up a fetch, nothing of it is stored
before_chunk:K       before chunk K (from 0) is sent
piece_checked:K      the lease was good a moment ago, a piece of chunk K goes out now
mid_chunk:K          half of chunk K is sent
after_last_chunk     TikTok has confirmed the last byte, nothing of it is stored
while_polling        a status call is about to be made
after_status_answer  TikTok told its status, nothing of it is stored
lease_nearly_over    a lease in hand has less than half of its length left: it was not renewed when it should have been
"""


class CrashPoints:
    """What is told that a point is reached."""

    def reach(self, point: str) -> None:
        """Tell that the point is reached. Does nothing."""


NOWHERE = CrashPoints()
