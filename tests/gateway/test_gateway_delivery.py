"""What a connection sends is the log, whatever becomes of the publications."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from cloudia.cloud.events import Entry
from cloudia.cloud.sessions import Published
from cloudia.gateway.delivery import Delivery

_MOST_BYTES = 64


class Sending(RuleBasedStateMachine):
    """A log that grows, publications that go astray, and a delivery that reads and sends.

    The model is a list: what was sent must be what stands in the log after the event that the client had seen.
    """

    underway = Bundle("underway")

    def __init__(self) -> None:
        super().__init__()
        self.log = [Entry("5-0", "{}"), Entry("5-1", "{}")]
        self.sent: list[Entry] = []
        self.page: tuple[list[Entry], bool] | None = None
        self.delivery = Delivery(self.log[-1].id, most_bytes=_MOST_BYTES)
        self.first = len(self.log)
        self.unheard: dict[str, Published] = {}

    @rule(target=underway, later=st.booleans(), size=st.integers(2, 60))
    def append(self, later: bool, size: int) -> Published:
        """Something is logged, and its publication is underway."""
        last = self.log[-1].id
        millis, sequence = map(int, last.split("-"))
        entry = Entry(f"{millis + 7}-0" if later else f"{millis}-{sequence + 1}", "x" * size)
        self.log.append(entry)
        published = Published("ses", last, entry.id, entry.payload)
        self.unheard[entry.id] = published
        return published

    @rule(later=st.booleans(), size=st.integers(2, 60))
    def append_and_arrive(self, later: bool, size: int) -> None:
        """Something is logged and published, and arrives: the rule, to which the others are the exceptions."""
        self.arrive(self.append(later, size))

    @rule(published=consumes(underway))
    def arrive(self, published: Published) -> None:
        """A publication arrives, in whatever order: the next one is taken, unless too much waits already."""
        waits = self._waiting()
        is_next = not self.delivery.behind and published.previous_id == self.delivery.head
        self.delivery.publish(published)
        if is_next and waits <= _MOST_BYTES:
            assert self.delivery.head == published.event_id
            assert not self.delivery.behind
        else:
            assert self._waiting() == waits
        self.unheard.pop(published.event_id, None)

    @rule(published=underway)
    def arrive_and_come_again(self, published: Published) -> None:
        """A publication arrives, and a copy of it is still underway."""
        self.arrive(published)

    @rule(published=consumes(underway))
    def lose(self, published: Published) -> None:
        """A publication is lost, and the subscription notices."""
        self.unheard.pop(published.event_id, None)
        self.delivery.miss()

    @precondition(lambda self: self.page is None and self.delivery.behind and not self.delivery._queue)
    @rule(count=st.integers(1, 5))
    def begin_reading(self, count: int) -> None:
        """A page of the log is read, as nothing waits to be sent; its answer takes its time."""
        after = self.delivery.begin_reading()
        start = next(place for place, entry in enumerate(self.log) if entry.id == after) + 1
        page = self.log[start : start + count]
        self.page = (page, len(page) < count)

    @precondition(lambda self: self.page is not None)
    @rule()
    def catch_up(self) -> None:
        """The page arrives."""
        assert self.page is not None
        page, complete = self.page
        self.delivery.catch_up(page, complete=complete)
        self.page = None

    @precondition(lambda self: self.page is not None)
    @rule()
    def fail_to_read(self) -> None:
        """Redis does not answer, and the page has to be read anew."""
        self.page = None
        assert self.delivery.behind

    @rule()
    def send(self) -> None:
        """The socket takes an event, if there is one."""
        entry = self.delivery.next()
        if entry:
            self.sent.append(entry)

    @invariant()
    def i4_what_was_sent_is_the_log_from_where_the_client_was(self) -> None:
        """Each event once, in order, without a gap, with the payload that was logged."""
        assert self.sent == self.log[self.first : self.first + len(self.sent)]

    def _waiting(self) -> int:
        return sum(len(entry.payload) for entry in self.delivery._queue)

    def teardown(self) -> None:
        """Once every publication has arrived or its loss was noticed, and nothing waits, all was sent."""
        for published in self.unheard.values():
            self.delivery.publish(published)
        if self.page is not None:
            self.catch_up()
        while not self.delivery.idle:
            entry = self.delivery.next()
            if entry:
                self.sent.append(entry)
            else:
                self.begin_reading(3)
                self.catch_up()
        assert self.sent == self.log[self.first :]


TestSendingI4 = Sending.TestCase
TestSendingI4.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def _published(event_id: str, previous_id: str, payload: str = "{}") -> Published:
    return Published("ses", previous_id, event_id, payload)


def _caught_up(after: str = "1-0", *, most_bytes: int = 1024) -> Delivery:
    delivery = Delivery(after, most_bytes=most_bytes)
    assert delivery.begin_reading() == after
    delivery.catch_up([], complete=True)
    return delivery


def test_a_new_connection_is_behind_until_the_log_was_read() -> None:
    """What was logged before the connection comes first, so nothing published is taken before that."""
    delivery = Delivery("1-0", most_bytes=1024)
    assert not delivery.idle
    delivery.publish(_published("2-0", "1-0"))
    assert delivery.next() is None
    assert delivery.behind


def test_the_next_event_needs_no_read() -> None:
    """An event that follows the one before is sent as it is published."""
    delivery = _caught_up()
    delivery.publish(_published("2-0", "1-0", "a"))
    assert not delivery.behind
    assert delivery.next() == Entry("2-0", "a")
    assert delivery.idle


def test_i4_ids_are_compared_as_numbers() -> None:
    """`10-0` comes after `9-0`, and `9-10` after `9-9`, though not as text."""
    delivery = _caught_up("9-9")
    for published in (_published("9-10", "9-9"), _published("10-0", "9-10"), _published("9-10", "9-9")):
        delivery.publish(published)
    sent = [delivery.next(), delivery.next(), delivery.next()]
    assert sent == [Entry("9-10", "{}"), Entry("10-0", "{}"), None]
    assert delivery.idle


def test_what_is_published_during_a_read_is_read_again() -> None:
    """A page that was read before something was published may lack it, however short it is."""
    delivery = Delivery("1-0", most_bytes=1024)
    delivery.begin_reading()
    delivery.publish(_published("2-0", "1-0"))
    delivery.catch_up([], complete=True)
    assert delivery.behind
    assert delivery.begin_reading() == "1-0"
    delivery.catch_up([Entry("2-0", "{}")], complete=True)
    assert not delivery.behind
    assert delivery.head == "2-0"


def test_a_slow_reader_is_left_to_the_log() -> None:
    """Past the bound nothing more is kept here: it is read from the log once the rest was sent."""
    delivery = _caught_up(most_bytes=100)
    previous = "1-0"
    for number in range(2, 50):
        delivery.publish(_published(f"{number}-0", previous, "x" * 40))
        previous = f"{number}-0"
    waiting = []
    while entry := delivery.next():
        waiting.append(entry)
    assert [entry.id for entry in waiting] == ["2-0", "3-0", "4-0"]
    assert delivery.behind
    assert delivery.begin_reading() == "4-0"
