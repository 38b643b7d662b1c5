"""``python -m tiktok_simulator``: serve until told to stop. Settings come from ``SIMULATOR_*``."""

import structlog
import uvicorn

from tiktok_simulator.app import create_app
from tiktok_simulator.server import listen, server_config
from tiktok_simulator.settings import Settings


def main() -> None:
    """Run the simulator."""
    settings = Settings()
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    structlog.get_logger(__name__).info("listening", address=f"http://{host}:{port}")
    uvicorn.Server(server_config(create_app(settings), settings)).run(sockets=[listener])


if __name__ == "__main__":
    main()
