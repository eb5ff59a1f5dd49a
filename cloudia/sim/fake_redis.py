"""`python fake_redis.py PORT ACCESS`: fakeredis' TCP server, the last resort where there is no Redis.

Run by its path, in this Python or in one of its own, where cloudia is not installed.
ACCESS is a file as `redis_server.write_access` writes it, of which the password is taken. fakeredis takes no command away
from a user; it writes no files, and what would end or reconfigure a server does nothing in it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

_LOOPBACK = "127.0.0.1"
_STRANGER = b"stranger"


def main() -> None:
    """Serve until SIGTERM."""
    from fakeredis import TcpFakeServer  # noqa: PLC0415 - an optional dependency

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = TcpFakeServer((_LOOPBACK, int(sys.argv[1])), server_type="redis")
    words = Path(sys.argv[2]).read_text(encoding="utf-8").split()
    _ask_for(server.fake_server, next(word[1:] for word in words if word.startswith(">")))
    server.RequestHandlerClass = _patient(server.RequestHandlerClass)
    server.serve_forever()


def _ask_for(server: Any, password: str) -> None:
    """Have a server take no command before the password: whoever has not said it is a user that is off."""
    server.config[b"requirepass"] = password.encode()
    server.acl.get_user_acl(_STRANGER).enabled = False
    known = server.acl.get_user_acl(b"default")
    known.reset()
    known.enabled = True
    known.add_command_or_category(b"+@all")
    known.add_password(password.encode())
    known.add_key_pattern(b"*")
    known.add_channel_pattern(b"*")


def _patient(handler: Any) -> Any:
    """Return a handler that begins as a stranger's, and goes on after an error reply, as Redis does.

    fakeredis 2.40 closes the connection; a client's script is loaded after the reply NOSCRIPT, over the same one.
    """

    class Patient(handler):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            self.current_client.get_socket()._client_info["user"] = _STRANGER.decode()  # noqa: SLF001
            read = self.current_client.read_response

            def read_or_error() -> Any:
                try:
                    return read()
                except Exception as error:  # noqa: BLE001 - what is returned is written as an error reply
                    return error

            self.current_client.read_response = read_or_error

    return Patient


if __name__ == "__main__":
    main()
