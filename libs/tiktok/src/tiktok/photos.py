"""Photo posts: what goes to ``content/init``."""

from enum import StrEnum
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_PHOTOS: Final = 35


class PhotoMode(StrEnum):
    """Publish at once, or hand a draft to the creator."""

    DIRECT_POST = "DIRECT_POST"
    MEDIA_UPLOAD = "MEDIA_UPLOAD"


class PhotoPost(BaseModel):
    """A photo post. ``images`` are 1 to 35 verified public addresses; ``cover_index`` counts from 0.

    ``title`` has at most 90 UTF-16 units, ``description`` (where hashtags go) 4000. A direct post needs ``privacy_level``;
    a draft takes none of the options, its creator chooses them in the app.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: PhotoMode
    images: tuple[str, ...] = Field(min_length=1, max_length=MAX_PHOTOS)
    cover_index: int = Field(default=0, ge=0)
    title: str | None = None
    description: str | None = None
    privacy_level: str | None = None
    disable_comment: bool = False
    auto_add_music: bool = False
    brand_content_toggle: bool = False
    brand_organic_toggle: bool = False
    is_aigc: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cover_index >= len(self.images):
            raise ValueError("cover_index names no image")
        if (self.mode is PhotoMode.DIRECT_POST) is (self.privacy_level is None):
            raise ValueError("privacy_level belongs to direct posts, and only to them")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the body as TikTok wants it: ``is_aigc`` lies beside ``post_info``, not in it as with videos."""
        info: dict[str, Any] = {name: value for name in ("title", "description") if (value := getattr(self, name)) is not None}
        if self.mode is PhotoMode.DIRECT_POST:
            info |= {
                "privacy_level": self.privacy_level,
                "disable_comment": self.disable_comment,
                "auto_add_music": self.auto_add_music,
                "brand_content_toggle": self.brand_content_toggle,
                "brand_organic_toggle": self.brand_organic_toggle,
            }
        return {
            "media_type": "PHOTO",
            "post_mode": self.mode.value,
            "post_info": info,
            "source_info": {
                "source": "PULL_FROM_URL",
                "photo_images": list(self.images),
                "photo_cover_index": self.cover_index,
            },
            "is_aigc": self.is_aigc,
        }
