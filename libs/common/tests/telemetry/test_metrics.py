import httpx
from prometheus_client import CollectorRegistry, Counter

from common.telemetry.metrics import MetricsServer
from common.testing.http_server import free_port


async def test_metrics_are_served_while_running() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    port = free_port()
    server = MetricsServer(port, registry=registry)
    await server.start()
    async with httpx.AsyncClient() as client:
        assert "things_total 1.0" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        await server.stop()
        await server.stop()
        try:
            await client.get(f"http://127.0.0.1:{port}/metrics")
        except httpx.ConnectError:
            return
    raise AssertionError("still served")


async def test_port_zero_is_off() -> None:
    server = MetricsServer(0)
    await server.start()
    await server.stop()
