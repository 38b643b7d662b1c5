"""The init of photos, which TikTok fetches from their addresses, as a post or as a draft."""

from publisher.clients.accounts import Access
from publisher.clients.scheduler import Addresses
from publisher.runner.conclude import Outcome
from publisher.runner.run import JobRun
from publisher.runner.steps.addresses import addresses_of
from publisher.runner.steps.creator import privacy_level
from publisher.runner.steps.init_once import init_once
from tiktok.photos import PhotoMode, PhotoPost


async def init_photo(run: JobRun, access: Access) -> Outcome:
    """Make the init; returns what it means for the job. Raises LeaseLost."""
    addresses = await addresses_of(run)
    if not isinstance(addresses, Addresses):
        return addresses
    post = photo_post(run, addresses)
    tiktok, account_id = run.tools.tiktok, run.job.account_id
    return await init_once(run, lambda tries: tiktok.init_photo(account_id, access, post, tries))


def photo_post(run: JobRun, addresses: Addresses) -> PhotoPost:
    """Return what TikTok is to fetch and what is said with it; a draft has texts, the rest its creator chooses in the app."""
    post, content = run.job.post, run.job.post.content
    texts_and_media = {
        "images": tuple(addresses.photo_urls),
        "cover_index": content.photo_cover_index,
        "title": content.photo_title or None,
        "description": content.title or None,
        "is_aigc": content.is_aigc,
    }
    if post.mode == "inbox":
        return PhotoPost.model_validate({"mode": PhotoMode.MEDIA_UPLOAD, **texts_and_media})
    options = {
        "privacy_level": privacy_level(run) or "",
        "disable_comment": content.disable_comment,
        "auto_add_music": content.auto_add_music,
        "brand_content_toggle": content.brand_content_toggle,
        "brand_organic_toggle": content.brand_organic_toggle,
    }
    return PhotoPost.model_validate({"mode": PhotoMode.DIRECT_POST, **texts_and_media, **options})
