"""What is kept of a broken promise: seed, the post's timeline and events, its ledger entries, and where the logs lie."""

import json
from pathlib import Path
from typing import Any

import httpx

from chaos.judge import Broken
from chaos.site import Order, Site


class Evidence:
    """A folder of one JSON file per post with a broken promise."""

    def __init__(self, site: Site, folder: Path, seed: int) -> None:
        self._site, self._folder, self._seed = site, folder, seed

    def keep(self, broken: list[Broken], order: Order | None) -> Path:
        """Write what is known of the post (or of none) and return the file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        operator = self._site.operator
        name = order.post_id if order else "no-post"
        kept: dict[str, Any] = {
            "seed": self._seed,
            "promises": [item.promise for item in broken],
            "logs": str(operator.stack.paths.log),
            "ledger": operator.ledger(order.creator) if order else operator.whole_ledger(),
        }
        if order:
            kept["ordered"] = {"mode": order.mode, "title": order.title, "sha256": order.content.sha256}
            kept["status"] = self._answer(f"/api/v1/posts/{name}/status")
            kept["detail"] = self._answer(f"/api/v1/posts/{name}/detail")
            kept["events"] = operator.events.about(name)
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        return path

    def _answer(self, path: str) -> Any:
        try:
            return self._site.operator.user.get(path).json()
        except (httpx.TransportError, ValueError) as error:
            return str(error)
