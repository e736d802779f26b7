"""``predict BUNDLE --serve``: a web page on which a person drops photographs. Needs the extra ``serve``.

The page sends a photograph as the body of ``POST /predict?name=...`` and gets the record that ``--format json`` prints.
Nothing is stored.
"""

from __future__ import annotations

import importlib.util
import socket
from importlib.resources import files
from typing import TYPE_CHECKING

import click

from sota_bench.errors import UserError
from sota_bench.ship.files import ImageFile
from sota_bench.ship.records import Record, record

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from sota_bench.ship.predict import Predictor

LARGEST_UPLOAD = 32 * 2**20
"""Bytes of one photograph."""

MOST_CONNECTIONS = 32
"""Beyond them the server answers 503."""

LOOPBACK = ("127.0.0.1", "localhost")
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src blob: data:"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}


def require() -> None:
    """Makes sure that the packages of the extra ``serve`` are there.

    Raises:
        UserError: one is not.
    """
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            remedy = "install it: python -m pip install 'sota-bench[serve]'"
            raise UserError("--serve", "", f"{package} is not installed", remedy)


def application(predictor: Predictor, top: int, hosts: tuple[str, ...]) -> Starlette:
    """The page and its predictions.

    Args:
        predictor: a loaded bundle; one photograph is predicted at a time.
        top: classes in an answer.
        hosts: names by which the server may be called. A page of another site that a browser was led to resolve to
            this machine (DNS rebinding) calls it by another name, and is refused.
    """
    import asyncio

    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.responses import Response as PlainResponse
    from starlette.routing import Route

    bundle, one_at_a_time = predictor.bundle, asyncio.Lock()
    page = _page(bundle.folder.resolve().name, len(bundle.classes))

    async def show(request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            return PlainResponse(status_code=404, headers=HEADERS)
        return PlainResponse(_text(name), media_type=ASSETS[name], headers=HEADERS)

    async def predict(request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return JSONResponse({"error": "another site asked"}, 403, HEADERS)
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > LARGEST_UPLOAD:
                problem = f"larger than {LARGEST_UPLOAD // 2**20} MiB"
                return JSONResponse({"error": problem}, 413, {**HEADERS, "Connection": "close"})
        file = ImageFile(request.query_params.get("name", "image"), bytes(content))
        async with one_at_a_time:
            answer = await run_in_threadpool(_answer, predictor, file, top)
        return JSONResponse(answer, 400 if "error" in answer else 200, HEADERS)

    routes = [
        Route("/", show),
        Route("/predict", predict, methods=["POST"]),
        Route("/{name}", asset),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


def run_server(predictor: Predictor, top: int, host: str, port: int) -> None:
    """Serves the page until the command is interrupted.

    Args:
        predictor: a loaded bundle.
        top: classes in an answer.
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        UserError: the address cannot be listened on.
    """
    import uvicorn

    local = host in LOOPBACK
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        problem = f"{host}:{port} cannot be used: {error.strerror or error}"
        raise UserError("--port", "", problem, "choose another --port, or 0 for a free one") from None
    with listening:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"Serving http://{shown}:{listening.getsockname()[1]}/ until interrupted (Ctrl-C).")
        if not local:
            warning = f"Anyone who can reach {host} can use this page; --host 127.0.0.1 limits it to this machine."
            click.echo(warning, err=True)
        app = application(predictor, top, LOOPBACK if local else ("*",))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=5,
            timeout_graceful_shutdown=5, lifespan="off",
        )  # fmt: skip
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # how it is meant to end
            click.echo("Stopped.")


def _answer(predictor: Predictor, file: ImageFile, top: int) -> Record:
    (prediction,) = predictor([file])
    return record(prediction, predictor.bundle.classes, top)


def _page(name: str, classes: int) -> str:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_text("page.html")).render(
        name=name, classes=classes, largest_mib=LARGEST_UPLOAD // 2**20
    )


def _text(name: str) -> str:
    return (files("sota_bench.ship") / "page" / name).read_text(encoding="utf-8")
