"""What a supervisor and its worker tell each other."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

from pydantic import SecretStr

from edge_client.settings import EdgeSettings
from edge_client.workers.orders import Control, Fault, Go, Orders, Progress, Ready, receive_orders
from routing.errors import ModelError

ORDERS = Orders(
    number=1,
    settings=EdgeSettings(api_keys=(SecretStr("operator"),), workers=2),
    signing_key=b"signed",
    folder=Path("folder"),
    listening=7,
    board=8,
    log_level=logging.INFO,
)


async def test_a_worker_is_told_everything_secrets_too(nothing_left_behind: None) -> None:
    ours, theirs = socket.socketpair()
    supervisor = await Control.over(ours)
    supervisor.send(ORDERS)
    received = await asyncio.to_thread(receive_orders, theirs)
    assert received == ORDERS
    assert received.settings.api_keys[0].get_secret_value() == "operator"
    assert "operator" not in repr(received)
    assert "signed" not in repr(received)
    theirs.close()
    supervisor.close()


async def test_each_hears_the_other_until_it_ends(nothing_left_behind: None) -> None:
    ours, theirs = socket.socketpair()
    supervisor, worker = await Control.over(ours), await Control.over(theirs)
    for message in (Progress("loading"), Ready()):
        worker.send(message)
    supervisor.send(Go())
    assert [await supervisor.receive(), await supervisor.receive()] == [Progress("loading"), Ready()]
    assert await worker.receive() == Go()
    supervisor.close()
    assert await worker.receive() is None
    worker.close()


def test_a_fault_comes_out_as_it_was_raised() -> None:
    error = Fault("ModelError", "no models").error()
    assert isinstance(error, ModelError)
    assert str(error) == "no models"
