"""What every answer tells a browser, whoever asks for what; and which pages may ask."""

from __future__ import annotations

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from edge_client.realtime.page import HEADERS as OF_PAGE
from edge_client.realtime.page import POLICY
from edge_client.realtime.security_headers import HEADERS, SecurityHeaders
from tests.edge import running_edge

OURS, THEIRS = "https://ours.example", "https://theirs.example"
ASKED = [
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 401),
    ("GET", "/v1/realtime/ice_servers", 401),
    ("POST", "/v1/realtime/calls", 401),
    ("PUT", "/v1/realtime/calls", 405),
    ("DELETE", "/v1/realtime/calls/rtc_1", 401),
    ("POST", "/v1/realtime/client_secrets", 401),
    ("GET", "/nowhere", 404),
    ("GET", "/page/nothing.js", 404),
]


async def test_every_answer_has_the_headers() -> None:
    async with running_edge(api_keys="key") as edge, httpx.AsyncClient(base_url=edge.url) as client:
        for method, path, status in ASKED:
            answer = await client.request(method, path)
            assert (path, answer.status_code) == (path, status)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
            assert "Strict-Transport-Security" not in answer.headers
        with pytest.raises(InvalidStatus) as refusal:
            await connect(edge.socket_url)
        assert HEADERS.items() <= dict(refusal.value.response.headers).items() | HEADERS.items()
        assert refusal.value.response.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_has_a_policy_of_its_own() -> None:
    async with running_edge(api_keys="key") as edge, httpx.AsyncClient(base_url=edge.url) as client:
        for path in ("/", "/page/app.js", "/page/style.css"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS | OF_PAGE, path
    assert not any("unsafe" in sources or "*" in sources for sources in POLICY.values())


async def test_a_fault_of_ours_has_the_headers_too_and_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_edge(api_keys="key") as edge, httpx.AsyncClient(base_url=edge.url) as client:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a secret of the inside")

        monkeypatch.setattr(edge.edge.keys, "admit", broken)
        answer = await client.get("/v1/realtime/ice_servers")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert HEADERS.items() <= {name: answer.headers.get(name) for name in HEADERS}.items()
    assert "inside" not in answer.text


async def test_where_the_edge_encrypts_browsers_come_back_by_no_other_way() -> None:
    sent: list[Message] = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-cache")]})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await SecurityHeaders(app, encrypted=True)({"type": "http"}, receive, send)
    headers = Headers(raw=list(sent[0]["headers"]))
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers.getlist("Cache-Control") == ["no-cache"]


# -- pages elsewhere ---------------------------------------------------------------------------------------------------


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, antiphon-resume",
    }


async def test_nobody_is_sent_elsewhere_with_a_key() -> None:
    named = {"Host": "theirs.example", "Authorization": "Bearer key"}
    async with running_edge(api_keys="key") as edge, httpx.AsyncClient(base_url=edge.url, headers=named) as client:
        for path in ("/v1/statistics/", "/metrics/", "/page"):
            assert (await client.get(path)).status_code == 404


@pytest.mark.slow
async def test_pages_of_allowed_origins_may_ask_and_others_may_not() -> None:
    path = "/v1/realtime/calls"
    async with (
        running_edge(api_keys="key", allowed_origins=OURS) as edge,
        httpx.AsyncClient(base_url=edge.url) as client,
    ):
        welcome = await client.options(path, headers=preflight(OURS))
        assert (welcome.status_code, welcome.headers["Access-Control-Allow-Origin"]) == (200, OURS)
        assert "Access-Control-Allow-Credentials" not in welcome.headers  # nobody is let in by a cookie
        for headers in (
            preflight(THEIRS),
            preflight("null"),
            preflight(OURS + ".theirs.example"),
            preflight(OURS, "PUT"),
        ):
            refused = await client.options(path, headers=headers)
            assert refused.status_code == 400
            assert refused.headers["X-Content-Type-Options"] == "nosniff"
        answered = await client.post(path, headers={"Origin": THEIRS, "Authorization": "Bearer key"})
        assert "Access-Control-Allow-Origin" not in answered.headers


@pytest.mark.slow
async def test_with_keys_not_even_pages_of_this_machine_may_ask_unless_they_are_allowed() -> None:
    async with running_edge(api_keys="key") as edge, httpx.AsyncClient(base_url=edge.url) as client:
        refused = await client.options("/v1/realtime/calls", headers=preflight("http://localhost:3000"))
    assert refused.status_code == 400
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        welcome = await client.options("/v1/realtime/calls", headers=preflight("http://localhost:3000"))
    assert welcome.status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (OURS, None),
        (None, None),
        (THEIRS, 403),
        (OURS + ".theirs.example", 403),
        ("null", 403),
        ("http://localhost:3000", 403),
    ],
)
async def test_sockets_are_opened_for_pages_of_allowed_origins_only(origin: str | None, status: int | None) -> None:
    key = {"Authorization": "Bearer key"}
    async with running_edge(api_keys="key", allowed_origins=OURS) as edge:
        try:
            async with connect(edge.socket_url, origin=origin, additional_headers=key):  # type: ignore[arg-type]
                opened = None
        except InvalidStatus as refused:
            opened = refused.response.status_code
    assert opened == status
