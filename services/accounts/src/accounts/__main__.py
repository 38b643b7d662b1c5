"""`python -m accounts`."""

from accounts.app import build
from common.http.server import run

if __name__ == "__main__":
    run(build)
