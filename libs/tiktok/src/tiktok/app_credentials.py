"""The app that one registered with TikTok, and the simulator's, whose key and secret everybody can read."""

from urllib.parse import urlsplit

PUBLISHED = ("simulator-client-key", "simulator-client-secret")
"""What a simulator takes that was told nothing else; its documents and the containers' defaults name them."""

_DOMAINS = ("tiktok.com", "tiktokapis.com")


def is_tiktok_itself(url: str) -> bool:
    """Whether an address is TikTok's own: neither a simulator's nor another stand-in's."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(host == domain or host.endswith(f".{domain}") for domain in _DOMAINS)


def require_own_app(api_url: str, client_key: str, client_secret: str) -> None:
    """Raise ValueError, naming the settings, when TikTok itself would be met with a key or a secret that is published.

    TikTok would refuse them; worse, whoever knows the secret signs webhooks that are taken for TikTok's.
    """
    names = ("TIKTOK_CLIENT_KEY", "TIKTOK_CLIENT_SECRET")
    given = zip(names, PUBLISHED, (client_key, client_secret), strict=True)
    wrong = [name for name, published, value in given if value == published]
    if wrong and is_tiktok_itself(api_url):
        raise ValueError(
            f"{' and '.join(wrong)}: the simulator's own, while TIKTOK_API_URL is TikTok's. Set those of your app"
        )
