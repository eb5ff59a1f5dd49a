"""Lists: pages that together hold each item once, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.functions import contract
from tests.functions.apis import new_user

if TYPE_CHECKING:
    import httpx2

    from tests.functions.apis import QuietCloud

MESSAGES = 120


def walk(client: httpx2.Client, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    """Return all pages of a list."""
    pages: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        response = client.get(path, params={**query, **cursor})
        assert response.status_code == 200, response.text
        page = response.json()
        following = page.pop("next_cursor")
        page.pop("conversation", None)
        ((_, items),) = page.items()
        pages.append(items)
        if following is None:
            return pages
        assert items, "a page with a page behind it is not empty"
        cursor = {"cursor": following}


def record(quiet: QuietCloud, user: str, content: str, conversation_id: str | None = None) -> str:
    """Record a message as `POST /messages` does, without its queue. Return its conversation."""
    return quiet.cloud.accept(content, user=user, conversation_id=conversation_id).conversation_id


@pytest.fixture(scope="module")
def long(quiet: QuietCloud) -> str:
    """A conversation of 120 messages."""
    conversation = record(quiet, "writer", "0")
    for number in range(1, MESSAGES):
        record(quiet, "writer", str(number), conversation)
    return conversation


@pytest.mark.parametrize("limit", [None, 7, 40, 100])
@pytest.mark.parametrize("order", [None, "asc", "desc"])
def test_a_walk_has_each_message_once_and_in_order(
    quiet: QuietCloud, long: str, limit: int | None, order: str | None
) -> None:
    """Whatever the size of its pages, a walk through 120 messages has no gap and no double; no page is over its limit."""
    query = {name: value for name, value in (("limit", limit), ("order", order)) if value}
    pages = walk(quiet.client("writer"), f"/conversations/{long}/messages", **query)
    assert max(map(len, pages)) == (limit or 50)
    found = [message["content"] for page in pages for message in page]
    expected = [str(number) for number in range(MESSAGES)]
    assert found == (expected[::-1] if order == "desc" else expected)


def test_a_walk_meets_what_is_written_meanwhile(quiet: QuietCloud, user: str) -> None:
    """A message that comes between two pages stands on the last page of a walk forward, and on none of a walk back."""
    conversation = record(quiet, user, "0")
    for number in (1, 2, 3):
        record(quiet, user, str(number), conversation)
    client, path = quiet.client(user), f"/conversations/{conversation}/messages"
    first = {order: client.get(path, params={"limit": 2, "order": order}).json() for order in ("asc", "desc")}
    record(quiet, user, "4", conversation)
    rest = {
        order: client.get(path, params={"order": order, "cursor": page["next_cursor"]}).json()
        for order, page in first.items()
    }
    found = {
        order: [message["content"] for page in (first[order], rest[order]) for message in page["messages"]]
        for order in first
    }
    assert found == {"asc": ["0", "1", "2", "3", "4"], "desc": ["3", "2", "1", "0"]}


@pytest.mark.parametrize("limit", [1, 5, 50])
def test_conversations_stand_with_the_newest_activity_first(quiet: QuietCloud, user: str, limit: int) -> None:
    """The conversation that was last written to comes first, whenever it was begun; pages have no gap and no double."""
    begun = [record(quiet, user, f"conversation {number}") for number in range(12)]
    client = quiet.client(user)
    assert client.post("/messages", json={"content": "again", "conversation_id": begun[3]}).status_code == 202
    pages = walk(client, "/conversations", limit=limit)
    found = [conversation for page in pages for conversation in page]
    assert found[0]["conversation_id"] == begun[3]
    assert found[0]["title"] == "conversation 3"
    assert found[0]["updated_at"] > found[0]["created_at"]
    assert sorted(each["conversation_id"] for each in found) == sorted(begun)
    stamps = [each["updated_at"] for each in found]
    assert stamps == sorted(stamps, reverse=True)


def test_a_title_is_the_first_line_shortened_at_a_word(quiet: QuietCloud, user: str) -> None:
    """At most 60 characters of the first line that says something, without a broken word."""
    for content in ("\n  What   is it?\nTell me.", "word " * 30, "x" * 100):
        record(quiet, user, content)
    found = quiet.client(user).get("/conversations").json()["conversations"]
    titles = {each["title"] for each in found}
    assert titles == {"What is it?", "word " * 10 + "word…", "x" * 59 + "…"}


def test_empty_parameters_are_the_first_page(quiet: QuietCloud, long: str) -> None:
    """An empty cursor is none, as a form sends it."""
    path = f"/conversations/{long}/messages"
    client = quiet.client("writer")
    assert client.get(path, params={"cursor": ""}).json() == client.get(path).json()


def test_a_search_finds_titles_and_what_was_said(quiet: QuietCloud, user: str) -> None:
    """Each word is in the title or in a message, whatever its case; what the title lacks is shown where it stands."""
    client = quiet.client(user)
    ada = record(quiet, user, "My cat Ada")
    record(quiet, user, "before she was " + "very " * 30 + "tired, the STRASSE was long\nand wet", ada)
    record(quiet, user, "My cat Bob")
    record(quiet, new_user(), "My cat Ada, of somebody else")

    def found(search: str) -> list[tuple[str, str | None]]:
        answer = client.get("/conversations", params={"search": search})
        assert answer.status_code == 200, answer.text
        return [(each["title"], each.get("snippet")) for each in answer.json()["conversations"]]

    assert found("cat") == [("My cat Bob", None), ("My cat Ada", None)]
    assert found("ADA my") == [("My cat Ada", None)]
    ((title, snippet),) = found("straße ada")
    assert title == "My cat Ada"
    assert snippet is not None
    assert snippet.startswith("…")
    assert "tired, the STRASSE was long and wet" in snippet
    assert len(snippet) <= 122
    assert found("ada bob") == []
    assert found(" ") == found("")
    assert len(found("")) == 2


def test_a_search_goes_on_where_its_page_ended(quiet: QuietCloud, user: str) -> None:
    """A page that found nothing has a cursor all the same, where there are more conversations to look into."""
    client = quiet.client(user)
    record(quiet, user, "the needle")
    for number in range(4):
        record(quiet, user, f"hay {number}")
    pages, cursor = [], ""
    while cursor is not None:
        page = client.get("/conversations", params={"search": "needle", "limit": 2, "cursor": cursor}).json()
        pages.append([each["title"] for each in page["conversations"]])
        cursor = page["next_cursor"]
    assert pages[0] == pages[1] == []
    assert [title for page in pages for title in page] == ["the needle"]


def test_a_search_is_bounded(quiet: QuietCloud, user: str) -> None:
    """It looks into 50 conversations at most, one request to DynamoDB each, and refuses what is too long to be words."""
    client = quiet.client(user)
    for number in range(52):
        record(quiet, user, f"hay {number}")
    first = client.get("/conversations", params={"search": "hay", "limit": 100}).json()
    assert len(first["conversations"]) == 50
    assert first["next_cursor"]
    refused = client.get("/conversations", params={"search": "x" * 201})
    assert (refused.status_code, contract.code_of(refused)) == (400, "bad_search")


def test_messages_say_which_conversation_they_are_of(quiet: QuietCloud, user: str) -> None:
    """With its title, so that whoever follows a link to an old one need not search the list for it."""
    client = quiet.client(user)
    conversation = record(quiet, user, "the title")
    page = client.get(f"/conversations/{conversation}/messages").json()
    assert page["conversation"] == client.get("/conversations").json()["conversations"][0]
