"""TikTok's upload addresses at rest: whoever holds one may send the bytes of one post, so the database has them sealed.

The key follows from the service's private key, which every replica has and no database does.
"""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from common.auth.keys import KEY_BYTES, b64url_decode

PURPOSE = b"cuepost publisher: upload addresses at rest"


class UploadAddresses:
    """Seals and opens addresses."""

    def __init__(self, service_private_key: SecretStr) -> None:
        seed = b64url_decode(service_private_key.get_secret_value())
        key = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=PURPOSE).derive(seed)
        self._fernet = Fernet(urlsafe_b64encode(key))

    def seal(self, address: str) -> str:
        """Return the address as it is stored."""
        return self._fernet.encrypt(address.encode()).decode()

    def open(self, stored: str) -> str | None:
        """Return the address; None when another key sealed it. One from before addresses were sealed is taken as it is."""
        if stored.startswith(("http://", "https://")):
            return stored
        try:
            return self._fernet.decrypt(stored.encode()).decode()
        except InvalidToken:
            return None
