"""Health and metrics over HTTP. Healthy means the loop turns and the picture of the cluster is not stale."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from trimtab.runtime.metrics import Metrics


def application(
    metrics: Metrics, alive: Callable[[], str], ready: Callable[[], str], refresh: Callable[[], None]
) -> web.Application:
    """`alive` and `ready` return what is wrong, or nothing; `refresh` sets the gauges that are read, not counted."""

    def probe(check: Callable[[], str]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text=wrong or "ok")

        return answer

    async def scrape(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", probe(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", probe(ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", scrape)
    return app


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Start listening; the runner stops it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - probes and scrapes come from outside the pod
    return runner
