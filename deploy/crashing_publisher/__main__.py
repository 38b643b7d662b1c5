"""`python -m crashing_publisher`: what `python -m publisher` is, and told where to die."""

from fastapi import FastAPI

from common.http.server import run
from common.settings import ServiceSettings, load
from crashing_publisher.crashes import Crashes
from crashing_publisher.settings import CrashingSettings
from publisher.app import wire


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(CrashingSettings)
    return wire(settings, crash=Crashes(settings.crash_point, settings.crash_points_folder)), settings


if __name__ == "__main__":
    run(build)
