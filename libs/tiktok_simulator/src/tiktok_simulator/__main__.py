"""``python -m tiktok_simulator``: serve until told to stop. Settings come from ``SIMULATOR_*``."""

import uvicorn

from tiktok_simulator.app import create_app
from tiktok_simulator.server import server_config
from tiktok_simulator.settings import Settings


def main() -> None:
    """Run the simulator."""
    settings = Settings()
    uvicorn.Server(server_config(create_app(settings), settings)).run()


if __name__ == "__main__":
    main()
