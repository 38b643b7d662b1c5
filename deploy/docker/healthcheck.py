"""`python healthcheck.py /healthz`: ends with 0 when the service of this container answers 200 there, else with 1.

Standard library alone, because it runs in every image, every few seconds.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 2.5
DEFAULT_PORT = 8080


def answers(port: int, path: str) -> bool:
    """Tell whether GET of the path on this host answers 200 within 2.5 seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    port = int(os.environ.get("HTTP_PORT", DEFAULT_PORT))
    sys.exit(0 if answers(port, sys.argv[1] if len(sys.argv) > 1 else "/healthz") else 1)
