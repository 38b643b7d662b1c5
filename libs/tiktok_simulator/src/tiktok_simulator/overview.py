"""The start page: creators, what they published (to be played), switches for faults, and the clock. It keeps itself up to date."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tiktok_simulator.pages import page
from tiktok_simulator.paths import API_PATHS

Orders = Mapping[str, Mapping[str, Any]]
_ORDERS: Orders = {
    "answer 500": {"status": 500},
    "answer 429": {"status": 429},
    "close before any effect": {"drop": True},
    "lose the answer": {"lost_answer": True},
    "be 10 seconds late": {"delay": 10},
}
_OF_DOWNLOADS: Orders = {"fail": {"drop": True}, "begin 10 seconds late": {"delay": 10}, "hang for ever": {"stuck": True}}
_OF_PROCESSING: Orders = {
    "fail: internal": {"fail_reason": "internal"},
    "fail: spam_risk": {"fail_reason": "spam_risk"},
    "fail: file_format_check_failed": {"fail_reason": "file_format_check_failed"},
    "hang for ever": {"stuck": True},
    "never show the post id": {"hide_post_id": True},
}
_OF_WEBHOOKS: Orders = {
    "send twice": {"duplicate": True},
    "never send": {"drop": True},
    "send after the next one": {"reorder": True},
    "be 10 seconds late": {"delay": 10},
}
_SCRIPT = """
async function send(method, path, body) {
  const answer = await fetch(path, {method, headers: {"Content-Type": "application/json"},
    body: body === undefined ? undefined : JSON.stringify(body)});
  if (answer.ok) location.reload(); else alert(await answer.text());
}
document.addEventListener("click", event => {
  const data = event.target.dataset;
  if (data.path) send(data.method || "POST", data.path, data.body ? JSON.parse(data.body) : undefined);
});
setInterval(() => {
  const inUse = document.activeElement?.matches("input, select, video");
  if (!inUse && ![...document.querySelectorAll("video")].some(video => !video.paused)) location.reload();
}, 4000);
document.getElementById("order").addEventListener("submit", event => {
  event.preventDefault();
  const form = new FormData(event.target);
  const order = JSON.parse(form.get("order"));
  send("POST", "/_simulator/faults", {...order, times: Number(form.get("times")), skip: Number(form.get("skip"))});
});
"""


def overview_page(
    creators: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    total: int,
    faults: Sequence[Mapping[str, Any]],
    ahead: float,
) -> str:
    """Return the start page: newest publications first; each item's ``media`` are addresses of what can be shown."""
    creator_rows = "".join(
        f"<tr><td>@{escape(creator['username'])}</td><td>{escape(creator['display_name'])}</td>"
        f"<td>{escape(creator['persona'])}</td><td>{creator['follower_count']}</td>"
        f"<td>{'connected' if creator['connected'] else ''}</td></tr>"
        for creator in creators
    )
    rows = "".join(_publication_row(item) for item in items)
    return page(
        "TikTok simulator",
        "<h2>Creators</h2><table><tr><th>Name<th>Display name<th>Persona<th>Followers<th></tr>"
        f"{creator_rows}</table><h2>Publications</h2><p>{total} in all, the newest {len(items)} shown. As data: "
        '<a href="/_simulator/ledger">ledger</a>, <a href="/_simulator/webhooks">webhooks</a>, '
        '<a href="/_simulator/stats">statistics</a>, '
        '<a href="/docs">API</a>.</p>'
        "<table><tr><th>When<th>Who<th>What<th>Title<th>Privacy<th>State<th>Bytes<th>Post id</tr>"
        f"{rows}</table>{_switches(faults)}{_clock(ahead)}<script>{_SCRIPT}</script>",
    )


def _publication_row(item: Mapping[str, Any]) -> str:
    state = escape(item["status"]) + (f"<br><code>{escape(item['fail_reason'])}</code>" if item["fail_reason"] else "")
    if item["draft"] in {"waiting", "posted"}:
        base = f"/_simulator/drafts/{escape(item['publish_id'])}"
        state += f"<br>draft {escape(item['draft'])} {_button('Post', f'{base}/publish')}"
        state += _button("Discard", f"{base}/discard") if item["draft"] == "waiting" else ""
    kind = f"{escape(item['mode'])} {escape(item['media_type'])}, {escape(item['source'])}"
    return (
        f"<tr><td>{escape(item['created_at'])}</td><td>@{escape(item['username'])}</td>"
        f"<td>{_media(item)}{kind}</td>"
        f"<td>{escape(item['title'][:200])}</td><td>{escape(item['privacy_level'])}</td><td>{state}</td>"
        f"<td>{item['bytes']} of {item['size']}</td><td><code>{escape(' '.join(item['post_ids']))}</code></td></tr>"
    )


def _media(item: Mapping[str, Any]) -> str:
    if item["media_type"] == "photo":
        return "".join(f'<img src="{escape(address)}" alt="" loading="lazy">' for address in item["media"])
    return "".join(f'<video controls preload="none" src="{escape(address)}"></video><br>' for address in item["media"])


def _switches(faults: Sequence[Mapping[str, Any]]) -> str:
    orders: dict[str, Orders] = {
        **dict.fromkeys((*API_PATHS, "upload"), _ORDERS),
        "download": _OF_DOWNLOADS,
        "processing": _OF_PROCESSING,
        "webhook": _OF_WEBHOOKS,
    }
    options = "".join(
        f'<optgroup label="{escape(endpoint)}">'
        + "".join(
            f'<option value="{escape(json.dumps({"endpoint": endpoint, **order}))}">{escape(endpoint)}: {escape(name)}</option>'
            for name, order in known.items()
        )
        + "</optgroup>"
        for endpoint, known in orders.items()
    )
    left = "".join(f"<li><code>{escape(json.dumps(dict(fault)))}</code></li>" for fault in faults)
    return (
        f'<h2>Faults</h2><form id="order"><select name="order">{options}</select> '
        'the next <input name="times" type="number" value="1" min="1" max="1000000"> times, '
        'after <input name="skip" type="number" value="0" min="0" max="1000000"> good ones <button>Order</button></form>'
        f"<p>Left:</p><ul>{left or '<li>none</li>'}</ul>{_button('Clear all', '/_simulator/faults', method='DELETE')}"
    )


def _clock(ahead: float) -> str:
    steps = (("a minute", 60), ("an hour", 3600), ("a day", 86400))
    buttons = "".join(_button(name, "/_simulator/clock", body={"seconds": seconds}) for name, seconds in steps)
    return f"<h2>Clock</h2><p>{ahead:.0f} seconds ahead. Put it forward by {buttons}</p>"


def _button(name: str, path: str, *, method: str = "POST", body: Mapping[str, Any] | None = None) -> str:
    given = f' data-body="{escape(json.dumps(dict(body)))}"' if body is not None else ""
    return f'<button type="button" data-method="{method}" data-path="{path}"{given}>{escape(name)}</button>'
