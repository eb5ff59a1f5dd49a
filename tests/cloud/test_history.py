"""History: pages of conversations and messages, in order, each reader their own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cloudia import ids
from cloudia.cloud.history import History
from cloudia.cloud.items import to_item
from cloudia.errors import InvalidRequestError, NotFoundError, UnavailableError
from cloudia.protocol import Message, Page
from cloudia.stack import Stack
from tests.support import Cloud, RunningStack, make_cloud

TURNS = 7


@pytest.fixture(scope="module")
def cloud(stack: RunningStack) -> Cloud:
    """One cloud for this file: every test has users of its own."""
    return make_cloud(stack)


def say(cloud: Cloud, user: str, content: str, conversation_id: str | None = None) -> str:
    """Accept and answer a message. Return its conversation."""
    job = cloud.accept(content, user=user, conversation_id=conversation_id)
    lease: Any = cloud.jobs.lease(job.job_id, "wrk_1", 60)
    cloud.jobs.finish(lease, "done", content=f"re: {content}")
    return job.conversation_id


def fill(cloud: Cloud, count: int, size: int) -> str:
    """Write messages of `size` characters of two bytes. Return their conversation."""
    conversation_id = ids.conversation_id()
    message_id: str | None = None
    for number in range(count):
        job_id, message_id = ids.turn_ids(message_id)
        content = f"{number} ".ljust(size, "é")
        item = to_item(Message(message_id, conversation_id, "user", content, "now", job_id).to_json())
        cloud.aws.dynamodb.put_item(TableName=cloud.stack.messages.name, Item=item)
    return conversation_id


@pytest.fixture(scope="module")
def chat(cloud: Cloud) -> str:
    """A conversation of seven turns."""
    conversation_id = say(cloud, "reader", "turn 0")
    for number in range(1, TURNS):
        say(cloud, "reader", f"turn {number}", conversation_id)
    return conversation_id


def pages(read: Callable[[str | None], Page]) -> list[Page]:
    """Follow the cursors to the end."""
    found = [read(None)]
    while found[-1].next_cursor:
        found.append(read(found[-1].next_cursor))
        assert len(found) < 100
    return found


ALL = [text for number in range(TURNS) for text in (f"turn {number}", f"re: turn {number}")]


@pytest.mark.parametrize("limit", [1, 3, 7, 14, 100])
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_of_messages_are_the_conversation(cloud: Cloud, chat: str, limit: int, newest_first: bool) -> None:
    """I3: put together they are all messages, once each, in the order of the turns, or that order reversed."""
    found = pages(
        lambda cursor: cloud.history.messages("reader", chat, limit=limit, cursor=cursor, newest_first=newest_first)
    )
    told = [message.content for page in found for message in page.items]
    assert told == (ALL[::-1] if newest_first else ALL)
    assert all(len(page.items) <= limit for page in found)
    assert [message.role for message in found[0].items[:1]] == ["assistant" if newest_first else "user"]


def test_messages_that_come_while_one_reads_are_on_later_pages(cloud: Cloud) -> None:
    """A cursor is a place, not a number: nothing is skipped and nothing told twice."""
    conversation_id = say(cloud, "pager", "one")
    first = cloud.history.messages("pager", conversation_id, limit=1)
    say(cloud, "pager", "two", conversation_id)
    rest = cloud.history.messages("pager", conversation_id, limit=10, cursor=first.next_cursor)
    assert [message.content for message in (*first.items, *rest.items)] == ["one", "re: one", "two", "re: two"]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_of_conversations_begin_with_the_last_written_to(cloud: Cloud, limit: int) -> None:
    """Each conversation once, the one with the latest message first, and none of another user's."""
    user = f"lister-{limit}"
    made = [say(cloud, user, f"conversation {number}") for number in range(5)]
    say(cloud, "someone else", "hello")
    say(cloud, user, "again", made[1])
    found = pages(lambda cursor: cloud.history.conversations(user, limit=limit, cursor=cursor))
    listed = [conversation for page in found for conversation in page.items]
    assert [entry.conversation_id for entry in listed] == [made[number] for number in (1, 4, 3, 2, 0)]
    assert [entry.updated_at for entry in listed] == sorted((entry.updated_at for entry in listed), reverse=True)
    assert all(len(page.items) <= limit for page in found)


def test_nothing_is_an_empty_page(cloud: Cloud) -> None:
    """A user without conversations has a list, and its end."""
    assert cloud.history.conversations("nobody", limit=10) == Page((), None)


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_a_conversation_is_its_owners(cloud: Cloud, chat: str) -> None:
    """I5: another user's and none at all are the same refusal, with a cursor of the owner's too."""
    cursor = cloud.history.messages("reader", chat, limit=1).next_cursor
    refusals = []
    for user, conversation_id in (("mallory", chat), ("reader", ids.conversation_id())):
        for place in (None, cursor):
            with pytest.raises(NotFoundError) as refused:
                cloud.history.messages(user, conversation_id, limit=10, cursor=place)
            refusals.append(refused.value.to_json())
    assert all(refusal == refusals[0] for refusal in refusals)


def test_a_cursor_opens_nothing(cloud: Cloud, chat: str) -> None:
    """I5: a cursor of one user's list, given by another, leads to that other one's own list."""
    say(cloud, "victim", "secret 1")
    say(cloud, "victim", "secret 2")
    cursor = cloud.history.conversations("victim", limit=1).next_cursor
    assert cursor
    assert cloud.history.conversations("mallory", limit=10, cursor=cursor).items == ()
    own = say(cloud, "mallory", "mine")
    place = cloud.history.messages("reader", chat, limit=1).next_cursor
    page = cloud.history.messages("mallory", own, limit=10, cursor=place)
    assert all(message.conversation_id == own for message in page.items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@examples(max_examples=60, deadline=None)
@given(
    st.text()
    | JSON.map(packed)
    | st.lists(st.text(st.characters(max_codepoint=126), min_size=1), min_size=1, max_size=2).map(packed)
)
@example(packed(["\ud800"]))
@example(packed(["\x00", "\x00"]))
@example(packed(["x" * 300]))
def test_garbage_is_no_cursor(cloud: Cloud, chat: str, cursor: str) -> None:
    """Whatever a client sends: a page of the caller's own, or `InvalidRequestError`; DynamoDB is asked nothing odd."""
    reads: list[Callable[[], Page]] = [
        lambda: cloud.history.messages("reader", chat, limit=2, cursor=cursor),
        lambda: cloud.history.conversations("reader", limit=2, cursor=cursor),
    ]
    for read in reads:
        try:
            page = read()
        except InvalidRequestError as error:
            assert error.code == "bad_cursor"  # noqa: PT017 - either is right
        else:
            assert all(item.conversation_id == chat for item in page.items)


# --- the context of a turn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5, 13, 14, 40])
def test_before_are_the_last_messages_in_order(cloud: Cloud, chat: str, limit: int) -> None:
    """What stands before a message is the end of the conversation up to it, oldest first."""
    later = ids.turn_ids(None)[1]
    assert [message.content for message in cloud.history.before(chat, later, limit=limit)] == ALL[-limit:]


def test_before_ends_at_the_message(cloud: Cloud, chat: str) -> None:
    """Neither the message itself nor anything after it, so that a turn is answered as it was asked."""
    every = cloud.history.messages("reader", chat, limit=100).items
    for place, message in enumerate(every):
        before = cloud.history.before(chat, message.message_id, limit=3)
        assert before == list(every[max(0, place - 3) : place])
    assert cloud.history.before(ids.conversation_id(), every[0].message_id, limit=3) == []


def test_before_is_whole_where_messages_are_long(cloud: Cloud) -> None:
    """DynamoDB answers a query with 1 MB at most: forty messages of 30 KB need more than one."""
    conversation_id = fill(cloud, 45, 15_000)
    before = cloud.history.before(conversation_id, ids.turn_ids(None)[1], limit=40)
    assert [message.content.split()[0] for message in before] == [str(number) for number in range(5, 45)]


def test_one_message(cloud: Cloud, chat: str) -> None:
    """A message is found by its id in its conversation, and nowhere else."""
    (first, reply) = cloud.history.messages("reader", chat, limit=2).items
    assert cloud.history.message(chat, reply.message_id) == reply
    assert reply.message_id == ids.reply_id(first.message_id)
    assert cloud.history.message(ids.conversation_id(), reply.message_id) is None


def test_what_others_wrote_into_an_item_is_not_shown(cloud: Cloud) -> None:
    """An attribute that this version does not know does not break reading."""
    conversation_id = say(cloud, "future", "hello")
    (first, _) = cloud.history.messages("future", conversation_id, limit=2).items
    item = to_item({**first.to_json(), "attachments": ["x"]})
    cloud.aws.dynamodb.put_item(TableName=cloud.stack.messages.name, Item=item)
    assert cloud.history.message(conversation_id, first.message_id) == first


def test_without_its_tables_a_history_says_so(cloud: Cloud) -> None:
    """What was not provisioned is told apart from an empty history."""
    history = History(cloud.aws.dynamodb, Stack("nowhere"))
    reads: list[Callable[[], object]] = [
        lambda: history.conversations("alice", limit=1),
        lambda: history.messages("alice", ids.conversation_id(), limit=1),
        lambda: history.before(ids.conversation_id(), ids.turn_ids(None)[1], limit=1),
        lambda: history.message(ids.conversation_id(), ids.turn_ids(None)[1]),
    ]
    for read in reads:
        with pytest.raises(UnavailableError) as missing:
            read()
        assert missing.value.code == "not_provisioned"
