"""Who may ask: decided by Host and Origin alone."""

from __future__ import annotations

import pytest

from cloudia.errors import ForbiddenError, InvalidRequestError
from cloudia.hosts import check_host, check_origin, is_browser, is_loopback


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_has_its_names(name: str) -> None:
    """Names that no resolver is asked for, or that must mean this machine (RFC 6761, 6.3)."""
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    ["", "10.0.0.1", "::", "evil.example", "localhost.", "x.localhost", "127.0.0.1.", "127.1", "2130706433"],
)
def test_other_names_are_none(name: str) -> None:
    """An address that is not loopback's, a name under one, and other ways to write a number."""
    assert not is_loopback(name)


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_one_of_its_names_is_asked(bound: str) -> None:
    """With a port or without; one that is none, or that only looks like one, is refused, and so is none and more than one."""
    for host in ("127.0.0.1", "127.0.0.1:80", "localhost:65535", "[::1]", "[::1]:8080", "LOCALHOST:1"):
        check_host([host], bound)
    for host in (
        "evil.example",
        "evil.example:80",
        "localhost:80@evil.example",
        "localhost:x",
        "[::1",
        "::1",
        "a b",
        "\u0131",
    ):
        with pytest.raises(ForbiddenError):
            check_host([host], bound)
    for hosts in ([], ["localhost", "localhost"]):
        with pytest.raises(InvalidRequestError):
            check_host(hosts, bound)


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.1.2.3"])  # noqa: S104 - nothing is bound
def test_elsewhere_any_name_is_right(bound: str) -> None:
    """A load balancer's, a pod's, or none at all from an old probe; but not two."""
    for hosts in (["chat.example"], ["10.1.2.3:8765"], []):
        check_host(hosts, bound)
    with pytest.raises(InvalidRequestError):
        check_host(["chat.example", "evil.example"], bound)


def test_a_named_origin_may_connect_and_no_other() -> None:
    """Compared whole: another scheme or port is another origin."""
    allowed = {"https://chat.example", "http://127.0.0.1:8000"}
    for origins in ([], ["https://chat.example"], ["http://127.0.0.1:8000"]):
        check_origin(origins, ["gateway.example"], allowed)
    for origin in (
        "http://chat.example",
        "https://chat.example:1",
        "http://127.0.0.1:8001",
        "null",
        "",
        "https://gateway.example",
    ):
        with pytest.raises(ForbiddenError):
            check_origin([origin], ["gateway.example"], allowed)


def test_where_none_is_named_the_same_host_may() -> None:
    """A page of the host that is asked; two origins are none."""
    check_origin(["https://chat.example"], ["chat.example"], ())
    check_origin(["http://127.0.0.1:8765"], ["127.0.0.1:8765"], ())
    for origins, hosts in (
        (["https://evil.example"], ["chat.example"]),
        (["http://127.0.0.1:9"], ["127.0.0.1:8765"]),
        (["null"], ["chat.example"]),
        (["null"], []),
        ([""], [""]),
        (["http://[::1"], ["chat.example"]),
        (["https://chat.example", "https://chat.example"], ["chat.example"]),
    ):
        with pytest.raises(ForbiddenError):
            check_origin(origins, hosts, ())


def test_a_browser_is_known_by_what_no_page_can_leave_out() -> None:
    """`Origin` or `Sec-Fetch-Site`; other tools send neither, Node's fetch sends `Sec-Fetch-Mode`."""
    assert is_browser({"origin": "null"})
    assert is_browser({"sec-fetch-site": "none"})
    assert not is_browser({"host": "localhost", "sec-fetch-mode": "cors", "referer": "http://localhost/"})
