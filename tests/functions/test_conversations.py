"""Renaming and deleting a conversation."""

from __future__ import annotations

import json
import unicodedata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import validate

from tests.functions import contract
from tests.functions.test_lists import record, walk
from tests.support import eventually

if TYPE_CHECKING:
    from tests.functions.apis import QuietCloud, Users


def test_a_new_title_leaves_the_place_in_the_list(quiet: QuietCloud, user: str) -> None:
    """The title changes, white space around it goes, and the conversation stays where it is in the list."""
    client = quiet.users.client(user)
    first, second = record(quiet, user, "one"), record(quiet, user, "two")
    renamed = client.patch(f"/conversations/{first}", json={"title": "  Fences and leases \n"})
    assert renamed.status_code == 200
    assert (renamed.json()["conversation_id"], renamed.json()["title"]) == (first, "Fences and leases")
    listed = client.get("/conversations").json()["conversations"]
    assert [(one["conversation_id"], one["title"]) for one in listed] == [(second, "two"), (first, "Fences and leases")]
    assert listed[1] == renamed.json()


@pytest.mark.parametrize("title", ["👨‍👩‍👧 at home", "no\u00a0break", "שלום", "\u200fright", "x" * 200])
def test_any_line_is_a_title(quiet: QuietCloud, user: str, title: str) -> None:
    """Joiners, marks of direction and spaces of all kinds are text."""
    renamed = quiet.users.client(user).patch(f"/conversations/{record(quiet, user, 'one')}", json={"title": title})
    assert (renamed.status_code, renamed.json()["title"]) == (200, title)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "bad_title"),
        ({"title": " \n "}, "bad_title"),
        ({"title": "x" * 201}, "bad_title"),
        ({"title": "two\nlines"}, "bad_title"),
        ({"title": "two\u2028lines"}, "bad_title"),
        ({"title": "a bell\a"}, "bad_title"),
        ({"title": None}, "bad_title"),
        ({"title": 1}, "wrong_type"),
        ({"title": "x", "user_id": "mallory"}, "unknown_field"),
        ([], "invalid_request"),
    ],
)
def test_a_bad_title_changes_nothing(quiet: QuietCloud, user: str, body: Any, code: str) -> None:
    """A title that is none is refused with its code, and the old one stays."""
    client = quiet.users.client(user)
    conversation = record(quiet, user, "the title")
    refused = client.patch(f"/conversations/{conversation}", json=body)
    assert (refused.status_code, contract.code_of(refused)) == (400, code)
    assert client.get("/conversations").json()["conversations"][0]["title"] == "the title"


def test_what_is_deleted_is_gone(quiet: QuietCloud, user: str) -> None:
    """The conversation leaves the list, its messages the table, and whatever is asked of it is a 404; others stay."""
    client = quiet.users.client(user)
    conversation, other = record(quiet, user, "0"), record(quiet, user, "other")
    for number in range(1, 60):
        record(quiet, user, str(number), conversation)
    assert client.delete(f"/conversations/{conversation}").json() == {"conversation_id": conversation}
    assert [one["conversation_id"] for page in walk(client, "/conversations") for one in page] == [other]
    for answer in (
        client.get(f"/conversations/{conversation}/messages"),
        client.delete(f"/conversations/{conversation}"),
        client.patch(f"/conversations/{conversation}", json={"title": "x"}),
        client.post("/messages", json={"content": "x", "conversation_id": conversation}),
    ):
        assert (answer.status_code, contract.code_of(answer)) == (404, "no_conversation")
    assert quiet.cloud.history.before(conversation, "msg_z", limit=10) == []


def test_i5_another_users_conversation_is_not_there(quiet: QuietCloud, user: str) -> None:
    """I5: nobody renames or deletes a conversation of someone else, or learns that it is there."""
    conversation = record(quiet, user, "mine")
    mallory = quiet.users.client("mallory")
    for answer in (
        mallory.patch(f"/conversations/{conversation}", json={"title": "yours"}),
        mallory.delete(f"/conversations/{conversation}"),
    ):
        assert (answer.status_code, contract.code_of(answer)) == (404, "no_conversation")
    assert quiet.users.client(user).get("/conversations").json()["conversations"][0]["title"] == "mine"


def test_a_bad_id_is_refused(quiet: QuietCloud, user: str) -> None:
    """What is no conversation's id is a 400."""
    for answer in (
        quiet.users.client(user).patch("/conversations/x", json={"title": "x"}),
        quiet.users.client(user).delete("/conversations/x"),
    ):
        assert (answer.status_code, contract.code_of(answer)) == (400, "bad_conversation_id")


async def test_deleting_stops_what_is_being_answered(users: Users, user: str) -> None:
    """The job of a deleted conversation is stopped, and what came of its answer is not kept."""
    client = users.client(user)
    accepted = client.post("/messages", json={"content": "go on and on [[words:2000]]"}).json()
    await eventually(lambda: client.get(f"/jobs/{accepted['job_id']}").json()["status"] == "running")
    assert client.delete(f"/conversations/{accepted['conversation_id']}").status_code == 200
    await eventually(lambda: client.get(f"/jobs/{accepted['job_id']}").json()["status"] == "cancelled")
    assert client.get(f"/jobs/{accepted['job_id']}").json()["reply"] is None


def test_a_title_is_what_the_document_says(quiet: QuietCloud, user: str) -> None:
    """Of any message, and of the longest new title, it is one line of 1 to 200 characters without control characters."""
    document = json.loads(files("cloudia.functions").joinpath("openapi.json").read_text())
    schema = document["components"]["schemas"]["Conversation"]["properties"]["title"]
    for content in ("\x01\x02", "a\x1b[31mb\x07\nc", "x" * 500, " \u200b ", "word " * 100, "\x00\nsecond", "🦊" * 61):
        record(quiet, user, content)
    client = quiet.users.client(user)
    longest = record(quiet, user, "to be renamed")
    assert client.patch(f"/conversations/{longest}", json={"title": "x" * 200}).status_code == 200
    titles = [one["title"] for one in client.get("/conversations").json()["conversations"]]
    assert len(titles) == 8
    for title in titles:
        validate(title, schema)
        assert not [character for character in title if unicodedata.category(character) == "Cc"]
    assert {"…", "a [31mb"} <= set(titles)
