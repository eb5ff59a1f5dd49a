"""Opening URLs: what this machine serves is reached directly, whatever proxies the environment names."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from cloudia.hosts import is_loopback

__all__ = ["opener"]


def opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens a URL."""
    handlers = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
    return urllib.request.build_opener(*handlers)
