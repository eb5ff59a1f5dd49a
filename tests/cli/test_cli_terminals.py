"""What `chat`, `top` and the others do in a terminal of an unusual kind, and `chat` at an unusual address."""

from __future__ import annotations

import pytest

from tests.cli.terminal import terminal
from tests.support import RunningStack


@pytest.mark.parametrize(
    ("command", "shown", "term"),
    [
        (("status",), "ready", "vt100"),
        (("status",), "ready", "dumb"),
        (("chat",), "connected", "vt100"),
        (("top",), "worker", "vt100"),
    ],
    ids=str,
)
async def test_a_terminal_without_colours_gets_none(
    stack: RunningStack, command: tuple[str, ...], shown: str, term: str
) -> None:
    """What the terminal is is taken from TERM, as every program does; what is to be seen is seen."""
    with terminal(*command, folder=stack.folder, TERM=term) as screen:
        await screen.shows(shown)
        if command != ("status",):
            screen.type("\x11")
        assert await screen.ends() == 0
        assert not screen.coloured


async def test_a_terminal_with_colours_gets_them(stack: RunningStack) -> None:
    """Unless the user asked for none."""
    for asked, coloured in (("", True), ("1", False)):
        with terminal("status", folder=stack.folder, TERM="xterm-256color", NO_COLOR=asked) as screen:
            assert await screen.ends() == 0
            assert screen.coloured is coloured


async def test_chat_at_something_else(stack: RunningStack) -> None:
    """Nothing is opened: one sentence says which address is not a stack's, and the exit code is that of a wrong use."""
    api_url, gateway = stack.run["api_url"], stack.run["websocket_url"]
    token = stack.token()
    health = gateway.replace("ws:", "http:")
    for api, websocket, said in (
        (health, gateway, f"{health} is not the HTTP API of a stack"),
        (api_url, api_url.replace("http:", "ws:"), "is not a gateway"),
    ):
        with terminal(
            "chat", "--url", api, "--websocket-url", websocket, "--token", token, folder=stack.folder
        ) as screen:
            assert await screen.ends() == 2
            assert said in screen.text.replace("\n", " ")
            assert "\x1b[?1049h" not in screen.raw
