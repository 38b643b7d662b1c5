"""`python -m publisher`."""

from common.http.server import run
from publisher.app import build

if __name__ == "__main__":
    run(build)
