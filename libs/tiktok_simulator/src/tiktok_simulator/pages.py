"""The HTML pages of signing in: consent, and TikTok's error page; and what all pages share."""

from collections.abc import Mapping, Sequence
from html import escape

from tiktok_simulator.oauth_rules import BASIC_SCOPE, Problem
from tiktok_simulator.personas import Creator

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1.5rem}
.badge{background:#fe2c55;color:#fff;border-radius:.3rem;padding:.1rem .5rem;font-size:.8rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884;vertical-align:top}
button{font:inherit;padding:.5rem 1rem;margin:.25rem .25rem .25rem 0;border-radius:.4rem;border:1px solid #8888;cursor:pointer}
fieldset{border:1px solid #8884;border-radius:.4rem;margin:1rem 0}
code{font-size:.85em;overflow-wrap:anywhere}
video,td img{max-width:9rem;max-height:12rem;border-radius:.3rem}
select,input{font:inherit}
"""
_NOTE = '<span class="badge">Simulator</span> This is not TikTok; nothing leaves this machine.'


def page(title: str, body: str) -> str:
    """Return a whole page; ``body`` is HTML."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body><p>{_NOTE}</p>"
        f"<h1>{escape(title)}</h1>{body}</body></html>"
    )


def authorize_page(query: Mapping[str, str], scopes: Sequence[str], creators: Sequence[Creator]) -> str:
    """Return the consent page: scopes that can be unticked, a button per creator, and one to deny."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in query.items()
        if not name.startswith("simulator_")
    )
    boxes = "".join(
        f'<label><input type="checkbox" name="ticked" value="{escape(scope)}" checked'
        f"{' disabled' if scope == BASIC_SCOPE else ''}> {escape(scope)}</label><br>"
        for scope in scopes
    )
    buttons = "".join(
        f'<button name="simulator_creator" value="{escape(creator.username)}">Approve as'
        f" @{escape(creator.username)} ({escape(creator.persona)})</button>"
        for creator in creators
    )
    return page(
        "Connect a TikTok account",
        f"<p>The app <code>{escape(query.get('client_key', ''))}</code> asks for access.</p>"
        f'<form method="post">{hidden}<fieldset><legend>Permissions</legend>{boxes}</fieldset>'
        f'<p>{buttons}</p><p><button name="deny" value="1">Deny</button></p></form>',
    )


def oauth_error_page(problems: Sequence[Problem]) -> str:
    """Return TikTok's own error page, which names what is wrong and does not redirect."""
    items = "".join(f"<li><code>{escape(problem.parameter)}</code>: {escape(problem.reason)}</li>" for problem in problems)
    return page(
        "Something went wrong",
        "<p>We couldn't log in with TikTok. This may be due to specific app settings. If you're a developer,"
        f" correct the following and try again:</p><ul>{items}</ul>",
    )


def avatar(creator: Creator) -> str:
    """Return the creator's picture as SVG."""
    hue = int.from_bytes(creator.username.encode()) % 360
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100" viewBox="0 0 100 100">'
        f'<rect width="100" height="100" fill="hsl({hue} 60% 45%)"/><text x="50" y="66" font-size="46" fill="#fff"'
        f' text-anchor="middle" font-family="sans-serif">{escape(creator.display_name[0].upper())}</text></svg>'
    )
