"""Whether TikTok still takes an account's token, asked by a read that changes nothing."""

from uuid import UUID

from accounts.access_tokens import AccessTokens
from accounts.clients.profiles import ProfileReader
from common.errors import Problem, Transient
from tiktok.errors import ScopeMissing, TikTokError, TikTokRateLimited, TokenInvalid


async def still_works(tokens: AccessTokens, profiles: ProfileReader, account_id: UUID, open_id: str) -> bool:
    """Ask TikTok; raises Transient when it does not say."""
    try:
        access = await tokens.get(account_id)
        await profiles.read(access.token, access.scopes, open_id=open_id)
    except TokenInvalid as error:
        if not error.told:
            raise Transient("TikTok does not say whether the access was withdrawn: a 401 without a known code") from None
        return False
    except TikTokRateLimited as error:
        raise Transient(f"TikTok asks to wait: {error.code}", retry_after=error.retry_after) from None
    except ScopeMissing:
        # The token was good enough to be told no. Any other refusal may be of something between TikTok and here.
        return True
    except (TikTokError, Problem) as error:
        raise Transient(f"TikTok does not say whether the access was withdrawn: {error.code}") from None
    return True
