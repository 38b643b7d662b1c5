"""What a direct video post says to TikTok besides its bytes."""

from publisher.runner.run import JobRun
from publisher.runner.steps.creator import privacy_level
from tiktok.models import PostInfo


def post_info(run: JobRun) -> PostInfo:
    """Return the post's options as TikTok takes them for a video."""
    content = run.job.post.content
    return PostInfo(
        privacy_level=privacy_level(run) or "",
        title=content.title or None,
        disable_comment=content.disable_comment,
        disable_duet=content.disable_duet,
        disable_stitch=content.disable_stitch,
        video_cover_timestamp_ms=content.cover_timestamp_ms,
        brand_content_toggle=content.brand_content_toggle,
        brand_organic_toggle=content.brand_organic_toggle,
        is_aigc=content.is_aigc,
    )
