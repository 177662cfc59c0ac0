"""The page to talk to, and its files."""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from edge_client.webrtc.peer import PeerSettings

mimetypes.init()  # reads the system's tables, which the first answer would wait for

FILES = Path(__file__).parent.parent / "page"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "media-src": "'self' blob: mediastream:",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",  # no text becomes markup or code
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cache-Control": "no-cache",
}  # beside those that every answer has


def add_page(app: FastAPI, peer: PeerSettings) -> None:
    """Serve the page at ``/`` and its files below ``/page``; ``peer`` is how its calls will be taken."""

    async def page() -> Response:
        return await _told(peer) if peer.turn.urls else FileResponse(FILES / "index.html", headers=HEADERS)

    app.get("/")(page)
    app.mount("/page", _PageFiles(directory=FILES, check_dir=False))


async def _told(peer: PeerSettings) -> Response:
    """Only a page that is told so asks for relays before it calls: elsewhere that would be a round trip for nothing."""
    told = f'<meta name="antiphon-relays" content="v1/realtime/ice_servers" data-edge="{_reach(peer)}">'
    text = await asyncio.to_thread((FILES / "index.html").read_text, "utf-8")
    return HTMLResponse(text.replace("<head>", f"<head>\n  {told}", 1), headers=HEADERS)


def _reach(peer: PeerSettings) -> str:
    """Whether callers find the edge, or must be found by it: then their offers have to name their addresses."""
    return "relayed" if peer.relay else "direct"


class _PageFiles(StaticFiles):
    """The page's files, with the headers of the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response
