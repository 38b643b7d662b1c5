"""What a search looks in is folded again: letters in mathematical alphabets, with strokes, in ligatures, in small capitals."""

import unicodedata
from collections.abc import Iterator, Sequence
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

BATCH = 1000
READ = sa.text(
    "SELECT id, username, display_name, search_text FROM tiktok_accounts WHERE id > :after ORDER BY id LIMIT :batch"
)
# A replica that stored another name meanwhile has folded it itself.
WRITE = sa.text(
    "UPDATE tiktok_accounts SET search_text = :search_text"
    " WHERE id = :id AND username = :username AND display_name = :display_name"
)

# A copy of the folding as it was when this was written: what runs in a year must do the same.
LETTERS = {
    "a": "\u0251\u1d00\u2c65\u1d8f",
    "b": "\u0180\u0253\u0183\u0299\u1d03\u1d6c\u1d80",
    "c": "\u0188\u023c\u0255\u1d04\ua793",
    "d": "\u0111\u00f0\u0256\u0257\u018c\u0221\u1d05\u1d06\u1d6d\u1d81\u1d91",
    "e": "\u025b\u0247\u1d07\u1d92\u2c78",
    "f": "\u0192\ua730\u1d6e\u1d82",
    "g": "\u01e5\u0260\u0261\u0262\u029b\u1d83\ua7a1",
    "h": "\u0127\u0266\u0267\u029c\u2c68",
    "i": "\u0131\u0268\u026a\u0269\u1d96\u1d7b",
    "j": "\u0237\u0249\u025f\u029d\u1d0a",
    "k": "\u0199\u1d0b\u2c6a\ua741\ua743\ua745\u1d84\ua7a3",
    "l": "\u0142\u019a\u026b\u026c\u026d\u0234\u029f\u1d0c\u2c61\ua747\ua749\u1d85",
    "m": "\u0271\u1d0d\u1d6f\u1d86",
    "n": "\u014b\u0272\u019e\u0273\u0235\u0274\u1d70\u1d87\ua791\ua7a5",
    "o": "\u00f8\u0275\u1d0f\u2c7a\ua74b\ua74d",
    "p": "\u01a5\u1d18\u1d7d\u1d71\u1d88\ua751\ua753\ua755",
    "q": "\ua7af\u0138\u02a0\ua757\ua759",
    "r": "\u024d\u027c\u027d\u027e\u0280\u1d72\u1d73\u1d89\ua7a7",
    "s": "\u0282\u023f\ua731\u1d74\u1d8a\u1e9c\u1e9d\ua7a9",
    "t": "\u0167\u01ab\u01ad\u0288\u0236\u2c66\u1d1b\u1d75",
    "u": "\u0289\u1d1c\u1d99\u1d7e",
    "v": "\u028b\u2c71\u2c74\u1d20\u1d8c\ua75f\u1efd",
    "w": "\u2c73\u1d21",
    "x": "\u1d8d",
    "y": "\u01b4\u024f\u028f\u1eff",
    "z": "\u01b6\u0225\u0240\u0290\u0291\u2c6c\u1d22\u1d76\u1d8e",
    "ae": "\u00e6\u1d01",
    "ao": "\ua735",
    "au": "\ua737",
    "av": "\ua739\ua73b",
    "ay": "\ua73d",
    "aa": "\ua733",
    "oe": "\u0153\u0276",
    "oi": "\u01a3",
    "oo": "\ua74f",
    "th": "\u00fe\ua765\ua767\u1d7a",
    "hv": "\u0195",
    "ll": "\u1efb",
    "db": "\u0238",
    "qp": "\u0239",
    "dz": "\u02a3\u02a5",
    "ts": "\u02a6",
    "ue": "\u1d6b",
    "vy": "\ua761",
}
PLAIN = {ord(letter): plain for plain, letters in LETTERS.items() for letter in letters} | {
    first + number: chr(ord("a") + number) for first in (0x1F150, 0x1F170) for number in range(26)
}
SHOWING_NOTHING = frozenset(map(chr, (0x034F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


def upgrade() -> None:
    connection = op.get_bind()
    for rows in batches(connection):
        changed = [
            {"id": row.id, "username": row.username, "display_name": row.display_name, "search_text": text}
            for row in rows
            if (text := fold(" ".join(filter(None, (row.username, row.display_name))))) != row.search_text
        ]
        if changed:
            connection.execute(WRITE, changed)


def batches(connection: sa.Connection) -> Iterator[Sequence[sa.Row[tuple[UUID, str, str, str]]]]:
    """Yield all accounts, some at a time."""
    after = UUID(int=0)
    while rows := connection.execute(READ, {"after": after, "batch": BATCH}).all():
        yield rows
        after = rows[-1].id


def fold(text: str) -> str:
    """Return the text as a search of this version looks for it."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in folded if not trims(character)).translate(PLAIN)


def trims(character: str) -> bool:
    """Return whether a search leaves this character out."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Cf"):
        return True
    return character in SHOWING_NOTHING
