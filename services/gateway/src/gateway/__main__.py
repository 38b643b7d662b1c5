"""`python -m gateway` runs the service."""

from common.http.server import run
from gateway.app import build

if __name__ == "__main__":
    run(build)
