"""I5: nobody reads, writes, listens to or cancels what belongs to another user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from cloudia.frames import CLOSE_BAD_FRAME
from cloudia.protocol import Hello
from tests.functions.apis import QuietCloud, Users, new_user
from tests.functions.contract import code_of
from tests.support import RunningStack

if TYPE_CHECKING:
    from collections.abc import Callable


SHORT = "[[words:5]]"
"""What the simulated LLM answers in a moment."""


class Owned:
    """What alice has, and mallory, who would like it. Neither exists in another test."""

    def __init__(self, quiet: QuietCloud) -> None:
        self.quiet = quiet
        self.alice_name, self.mallory_name = new_user(), new_user()
        self.alice, self.mallory = quiet.client(self.alice_name), quiet.client(self.mallory_name)
        self.session = quiet.session(self.alice_name)
        sent = self.alice.post("/messages", json={"content": "alice's", "session_id": self.session})
        assert sent.status_code == 202
        self.job: str = sent.json()["job_id"]
        self.conversation: str = sent.json()["conversation_id"]

    def state(self) -> dict[str, Any]:
        """Return all that alice sees of hers, and the depth of the queue."""
        return {
            "conversations": self.alice.get("/conversations").json(),
            "messages": self.alice.get(f"/conversations/{self.conversation}/messages").json(),
            "job": self.alice.get(f"/jobs/{self.job}").json(),
            "depth": self.quiet.depth(),
        }


@pytest.fixture
def owned(quiet: QuietCloud) -> Owned:
    """A conversation, a job and a session of alice's."""
    return Owned(quiet)


ATTEMPTS: dict[str, Callable[[httpx2.Client, str, str], httpx2.Response]] = {
    "read the messages": lambda http, conversation, _: http.get(f"/conversations/{conversation}/messages"),
    "write a message": lambda http, conversation, _: http.post(
        "/messages", json={"content": "mine", "conversation_id": conversation}
    ),
    "read the job": lambda http, _, job: http.get(f"/jobs/{job}"),
    "cancel the job": lambda http, _, job: http.post(f"/jobs/{job}/cancel"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_i5_what_is_anothers_is_not_there(owned: Owned, attempt: str) -> None:
    """Each attempt at alice's is a 404 to mallory, word for word that of what never was, and changes nothing."""
    before = owned.state()
    refused = ATTEMPTS[attempt](owned.mallory, owned.conversation, owned.job)
    nothing = ATTEMPTS[attempt](owned.mallory, f"cnv_{'0' * 26}", f"job_{'0' * 26}")
    assert refused.status_code == 404
    assert refused.content == nothing.content
    assert owned.state() == before


def test_i5_lists_hold_only_the_callers_own(owned: Owned) -> None:
    """Mallory's list is empty, whatever alice has."""
    assert owned.mallory.get("/conversations").json() == {"conversations": [], "next_cursor": None}


def test_i5_anothers_cursor_shows_nothing_of_theirs(owned: Owned) -> None:
    """A cursor is a place in the caller's own list: alice's leads mallory to mallory's conversations."""
    for name in ("one", "two"):
        assert owned.alice.post("/messages", json={"content": name}).status_code == 202
    cursor = owned.alice.get("/conversations", params={"limit": 1}).json()["next_cursor"]
    assert cursor
    mine = owned.mallory.post("/messages", json={"content": "mallory's"}).json()["conversation_id"]
    for path, name in (("/conversations", "conversations"), (f"/conversations/{mine}/messages", "messages")):
        response = owned.mallory.get(path, params={"cursor": cursor})
        if response.status_code == 400:
            assert code_of(response) == "bad_cursor"
        else:
            assert {each["conversation_id"] for each in response.json()[name]} <= {mine}
    place = owned.alice.get(f"/conversations/{owned.conversation}/messages", params={"limit": 1}).json()["next_cursor"]
    for each in owned.mallory.get(f"/conversations/{mine}/messages", params={"cursor": place or ""}).json()["messages"]:
        assert each["conversation_id"] == mine


def test_i5_nobody_streams_to_anothers_session(owned: Owned) -> None:
    """A message to alice's session is refused from mallory, also with a signature that was tampered with."""
    name, signature = owned.session.split(".")
    other = owned.quiet.session(owned.mallory_name).split(".")[1]
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    before = owned.state()
    for session in (owned.session, f"{name}.{other}", f"{name}.{flipped}", f"{name}.{signature[:-1]}", name):
        refused = owned.mallory.post("/messages", json={"content": "mine", "session_id": session})
        assert (refused.status_code, code_of(refused)) == (404, "no_session")
    assert owned.alice.post("/messages", json={"content": "x", "session_id": f"{name}.{flipped}"}).status_code == 404
    assert owned.state() == before


def test_i5_an_idempotency_key_is_its_users(owned: Owned) -> None:
    """The same key of two users stands for two messages; neither learns of the other's."""
    body = {"content": "the same", "idempotency_key": "the-same"}
    first, second = (http.post("/messages", json=body).json() for http in (owned.alice, owned.mallory))
    assert set(first.values()).isdisjoint(second.values())
    assert owned.mallory.post("/messages", json=body).json() == second
    other = owned.mallory.post("/messages", json={**body, "content": "another"})
    assert code_of(other) == "idempotency_conflict"
    assert owned.alice.post("/messages", json=body).json() == first


async def test_i5_nobody_listens_to_anothers_session(stack: RunningStack, users: Users) -> None:
    """The gateway refuses a hello with another's session, and sends mallory none of alice's events."""
    alice, mallory = new_user(), new_user()
    async with (
        stack.client(alice) as listening,
        connect(stack.run["websocket_url"], proxy=None) as socket,
        connect(stack.run["websocket_url"], proxy=None) as thief,
    ):
        await socket.send(Hello(stack.token(mallory)).encode())
        own_session = json.loads(await socket.recv())["session_id"]
        session = await listening.connected()
        await thief.send(Hello(stack.token(mallory), session, "0-0").encode())
        assert json.loads(await thief.recv())["error"]["code"] == "no_session"
        await thief.wait_closed()
        assert thief.close_code == CLOSE_BAD_FRAME

        accepted = await listening.send(SHORT)
        heard = [event.type async for event in listening.follow(accepted.job_id)]
        assert heard[0] == "started"
        assert heard[-1] == "done"
        # What mallory could have heard of that would have come before the answer to this.
        own = users.client(mallory).post("/messages", json={"content": SHORT, "session_id": own_session}).json()
        frames = [json.loads(await socket.recv())]
        while frames[-1]["type"] != "done":
            frames.append(json.loads(await socket.recv()))
        assert {frame["job_id"] for frame in frames} == {own["job_id"]}
