"""TikTok's business caps, which are refusals and no rate limits: bans, posts a day, active creators, waiting drafts."""

from tiktok_simulator.answers import ApiError
from tiktok_simulator.personas import PRIVATE_OPTIONS, PUBLIC_OPTIONS, Creator, Persona
from tiktok_simulator.state import Simulator


def privacy_options(simulator: Simulator, creator: Creator) -> tuple[str, ...]:
    """Return the privacy levels that the creator may choose from in this app."""
    if simulator.settings.unaudited:
        return ("SELF_ONLY",)
    return PRIVATE_OPTIONS if creator.persona is Persona.PRIVATE else PUBLIC_OPTIONS


def refuse_banned(creator: Creator) -> None:
    """Raise ApiError ``spam_risk_user_banned_from_posting`` for a banned creator."""
    if creator.banned:
        raise ApiError("spam_risk_user_banned_from_posting", "The user is banned from making new posts.")


def refuse_direct(simulator: Simulator, creator: Creator) -> None:
    """Raise ApiError when the creator cannot post directly now, for any of the three reasons creator info names."""
    refuse_banned(creator)
    settings = simulator.settings
    users = settings.unaudited_users if settings.unaudited else settings.active_users
    ledger = simulator.ledger
    if users and not ledger.is_active(creator.open_id) and ledger.active_creators(creator.open_id) >= users:
        raise ApiError("reached_active_user_cap", "The daily quota for active publishing users from the client is reached.")
    cap = settings.daily_posts
    if creator.persona is Persona.CAPPED or (cap and ledger.posts_today(creator.open_id) >= cap):
        raise ApiError("spam_risk_too_many_posts", "The daily post cap from the API is reached for the current user.")


def refuse_draft(simulator: Simulator, creator: Creator) -> None:
    """Raise ApiError when no further draft may be sent to the creator."""
    refuse_banned(creator)
    settings = simulator.settings
    pending = simulator.ledger.pending_drafts(creator.open_id, waiting_only=settings.pending_shares_free_up)
    if settings.pending_shares and pending >= settings.pending_shares:
        raise ApiError("spam_risk_too_many_pending_share", "There may be at most 5 pending shares within any 24-hour period.")


def refuse_unaudited(simulator: Simulator, creator: Creator, privacy_level: object) -> None:
    """Raise ApiError when the app is not audited, and the account is public or others shall see the post."""
    private = creator.persona is Persona.PRIVATE and privacy_level == "SELF_ONLY"
    if simulator.settings.unaudited and privacy_level is not None and not private:
        raise ApiError(
            "unaudited_client_can_only_post_to_private_accounts",
            "Unaudited clients can only post to a private account. Please review our integration guidelines.",
        )
