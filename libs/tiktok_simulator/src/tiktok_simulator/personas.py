"""Creators: the TikTok users of the simulation, each of a persona that says what they may post."""

from enum import StrEnum

from pydantic import BaseModel, Field

from tiktok_simulator.identifiers import open_id, union_id
from tiktok_simulator.journal import Journal, Table

PUBLIC_OPTIONS = ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
PRIVATE_OPTIONS = ("FOLLOWER_OF_CREATOR", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")


class Persona(StrEnum):
    """Kind of account: public, private, or one that has used up today's posts."""

    PUBLIC = "public"
    PRIVATE = "private"
    CAPPED = "capped"


class Creator(BaseModel):
    """One TikTok user. ``max_video_post_duration_sec`` in seconds.

    ``banned`` from posting; ``outdated_app``: the phone's TikTok is too old for photo drafts.
    """

    username: str
    persona: Persona
    display_name: str
    open_id: str
    union_id: str
    follower_count: int = 0
    following_count: int = 0
    likes_count: int = 0
    video_count: int = 0
    comment_disabled: bool = False
    max_video_post_duration_sec: int = 600
    banned: bool = False
    outdated_app: bool = False


class CreatorInput(BaseModel):
    """A creator to add, or to change by username; what is left out stays or gets its default."""

    model_config = {"extra": "forbid"}

    username: str = Field(pattern=r"^[A-Za-z0-9_.]{2,24}$")
    persona: Persona | None = None
    display_name: str | None = Field(None, min_length=1, max_length=60)
    follower_count: int | None = Field(None, ge=0, lt=2**63)
    following_count: int | None = Field(None, ge=0, lt=2**63)
    likes_count: int | None = Field(None, ge=0, lt=2**63)
    video_count: int | None = Field(None, ge=0, lt=2**63)
    comment_disabled: bool | None = None
    max_video_post_duration_sec: int | None = Field(None, ge=1, le=600)
    banned: bool | None = None
    outdated_app: bool | None = None


_DEFAULTS = (
    CreatorInput(
        username="demo_public",
        persona=Persona.PUBLIC,
        display_name="Demo Public",
        follower_count=12840,
        following_count=310,
        likes_count=98213,
        video_count=42,
    ),
    CreatorInput(
        username="demo_private",
        persona=Persona.PRIVATE,
        display_name="Demo Private",
        follower_count=214,
        following_count=180,
        likes_count=1033,
        video_count=17,
        max_video_post_duration_sec=300,
    ),
    CreatorInput(
        username="demo_capped",
        persona=Persona.CAPPED,
        display_name="Demo Capped",
        follower_count=5100,
        following_count=77,
        likes_count=40210,
        video_count=365,
    ),
)


class Creators:
    """All creators by username and by open id."""

    def __init__(self, journal: Journal, client_key: str) -> None:
        self._client_key = client_key
        self._table = Table(journal, "creators", Creator)
        self._by_open_id = {creator.open_id: creator for creator in self._table}
        self._add_defaults()

    def all(self) -> list[Creator]:
        """Return the creators in the order they came."""
        return list(self._table)

    def named(self, username: str) -> Creator | None:
        """Return the creator of that name or None."""
        return self._table.get(username)

    def with_open_id(self, open_id_: str) -> Creator | None:
        """Return the creator with that id or None."""
        return self._by_open_id.get(open_id_)

    def upsert(self, given: CreatorInput) -> Creator:
        """Add a creator or change the one of the same name."""
        known = self._table.get(given.username)
        base = known or Creator(
            username=given.username,
            persona=Persona.PUBLIC,
            display_name=given.username,
            open_id=open_id(self._client_key, given.username),
            union_id=union_id(given.username),
        )
        return self.store(base.model_copy(update=given.model_dump(exclude_none=True)))

    def store(self, creator: Creator) -> Creator:
        """Store a creator in its present state."""
        self._table.put(creator.username, creator)
        self._by_open_id[creator.open_id] = creator
        return creator

    def reset(self) -> None:
        """Go back to the three creators of the beginning."""
        self._table.clear()
        self._by_open_id.clear()
        self._add_defaults()

    def _add_defaults(self) -> None:
        for given in _DEFAULTS:
            if given.username not in {creator.username for creator in self._table}:
                self.upsert(given)
