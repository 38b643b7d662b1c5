"""`python -m scheduler`: run the service."""

from common.http.server import run
from scheduler.app import build

if __name__ == "__main__":
    run(build)
