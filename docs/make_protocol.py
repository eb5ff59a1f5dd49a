"""Make docs/protocol.md and docs/asyncapi.json from what the code says of the WebSocket.

python docs/make_protocol.py           writes them
python docs/make_protocol.py --check   exits 1 where one is not current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudia
from cloudia.frames import CLOSES, EVENTS, HELLO, PLACE, EventType, Field
from cloudia.protocol import MAX_DELTA_CHARACTERS, MAX_FRAME_BYTES, VERSION
from cloudia.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HERE = Path(__file__).parent
PAGE = _HERE / "protocol.md"
DOCUMENT = _HERE / "asyncapi.json"
_OPENAPI = json.loads((Path(cloudia.__file__).parent / "functions" / "openapi.json").read_text())
_SCHEMAS: dict[str, Any] = _OPENAPI["components"]["schemas"]


def _default(name: str) -> str:
    """Return the default of a setting, as one says it."""
    value = SETTINGS[name].default
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# --- the page ----------------------------------------------------------------------------------------------------------

_PAGE = """# The protocol of the WebSocket

Made by `docs/make_protocol.py` from `cloudia/frames.py`, `cloudia/protocol.py` and the settings. For machines:
[asyncapi.json](asyncapi.json). The HTTP API is [openapi.json](../cloudia/functions/openapi.json). Two clients were written from this page
alone: [examples/node](../examples/node) and [examples/aiohttp_client](../examples/aiohttp_client). This is version {version}.

## In short

1. Connect, send a **hello**, wait for `ready`, keep its `session_id`.
2. Send a message over HTTP, with that `session_id`. The 202 names the `job_id`; the job's events come over the WebSocket, also
   before the 202.
3. Take events in order. Note the `id` of each; an event whose `after` is not the `id` noted last means that one was lost: reconnect.
4. Where nothing has come for two heartbeats, or the connection closes, reconnect with `session_id` and `last_event_id`.
5. Pass over events and fields that you do not know. Stop where `ready.protocol` is higher than {version}.

`cloudia status --json` tells `api_url` and `websocket_url` of a local stack, `cloudia token` prints a token.

## HTTP, as far as it is needed

Each request bears `Authorization: Bearer TOKEN`; bodies are JSON.

| request | says |
|---|---|
| `POST /messages` | `content` (at most {content_bytes} bytes), `session_id`, `conversation_id` to go on in one, `idempotency_key` of your own (1 to 128 printable ASCII characters): sent again with the same key, it is the same message. Answers 202 with `job_id`, `conversation_id`, `message_id` |
| `GET /jobs/{{job_id}}` | the job: `status` (`queued running done failed cancelled dead_lettered`; the last four are final), `reply` (the answer's message, its text in `content`), `error`, `usage`. It has the last word where events were lost |
| `POST /jobs/{{job_id}}/cancel` | stops a job |

A refusal is `{{"error": {{"code", "message", "hint"}}}}`. 429 and 5xx may pass: try again, after `Retry-After` where it is told.

## Connecting

A plain WebSocket (RFC 6455): no subprotocol, no compression, text frames, each one JSON object in UTF-8. A page's `Origin` has to be the
gateway's own host or one of `gateway.origins`, else 403; a full gateway answers 503. The gateway pings every {ping_seconds} s and wants the
pong within as long; every WebSocket library answers by itself.

## Hello

The first frame, and the only one that a client ever sends. It comes within {hello_seconds} s of connecting and has at most {max_frame} bytes. An
unknown field is refused.

{hello}

```json
{{"type": "hello", "token": "eyJ…", "session_id": "ses_…", "last_event_id": "1795399119158-0"}}
```

The answer is `ready`, or an `error` and a close. Where the network swallows, neither comes: give up after 5 s and try again.

## Events

Each frame of the gateway has a `type` and is one of these. An event of a job has also these, which make its place:

{place}

A user may have many jobs under way; their events come mixed, each job's in order. An attempt that failed is followed by the next one, which
begins with `reset`; so an answer's text is what `delta` brought since the last `reset`.{events}

## Resuming

- A session outlives its connections, and is one user's. It has one connection at a time: a newer one closes the older with {replaced}.
- What is told while nobody is connected waits in the session's log: at most {log_length} events, and for {log_seconds} s after the last one
  (`events.max_length`, `events.ttl_seconds`; a deployment may set others).
- A hello with `session_id` and `last_event_id` is sent everything after that event, then what happens. `resumed` is true where the log still
  has that event, so nothing can be missing. Where it is false, or where a job's `started` or `reset` was never seen, the text is
  not to be trusted: take it from `GET /jobs/{{job_id}}` when the job has ended.
- Ids sort by two whole numbers, `milliseconds-sequence`, each of 64 bits: 9-0 comes before 10-0. An event whose `id` is not greater than the
  one noted last was seen already: pass it over.
- Each event says in `after` which one comes before it. Compare it with the `id` noted last (`0-0` where there is none). Where they differ,
  something on the way has swallowed events: close, and resume from the one noted last. A heartbeat's `after` tells the same of the last event.
  Note the ids of events of unknown type, too.

## Heartbeats

Every `ready.heartbeat_seconds` (by default {heartbeat_seconds}) a `heartbeat` comes, whatever else does. A client that has heard nothing for two of
them, no frame of any kind, leaves the connection without waiting for a close, and resumes with a new one. A client that wakes from sleep,
gets its network back or comes into view looks at once.

Reconnecting backs off from about 0.1 s, doubling up to 3 s, with jitter: half to all of it; it begins anew with the first event or `ready`.

## Closing

An `error` without a `job_id` comes before most closes and says why; its `code` is for programs.

{closes}

Any other code, and a connection that breaks without one, is the network's doing: reconnect and resume.

## Sizes

| what | at most |
|---|---|
| a hello | {max_frame} bytes |
| a token | 8,192 characters |
| a message's `content` | {content_bytes} bytes of UTF-8 (`limits.content_bytes`) |
| `text` of a `delta` or `thinking` | {max_delta} characters |
| a frame of the gateway | 32,768 bytes |
| an answer | 380,000 bytes |
| unsent events of a connection, before they are read from the log at the client's pace | {send_bytes} bytes |

## Versions

`protocol` rises when a client of the version before could no longer follow. Within a version events and fields may be added; the gateway never
sends less than is said here. A gateway of before heartbeats tells no `heartbeat_seconds` and no `after`: then nothing is to be inferred from
silence, nor from what comes after what.
"""  # noqa: E501 - a table's row is one line


def _says(field: Field) -> str:
    """Return what a field may be, in words."""
    schema = field.schema
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return "object or null" if field.name == "usage" else "object"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(kinds)


def _table(fields: Iterable[Field]) -> str:
    rows = [
        f"| `{field.name}` | {_says(field)} | {'yes' if field.required else ''} | {field.doc} |" for field in fields
    ]
    return "\n".join(["| field | is | always | says |", "|---|---|---|---|", *rows])


_OF = {
    "connection": "",
    "job": "",
    "both": "Of a job it has the fields of its place, too.",
}


def _section(name: str, event: EventType) -> str:
    said = " ".join(filter(None, (event.doc, _OF[event.of])))
    return "\n\n".join([f"\n\n### `{name}`", said, *([_table(event.fields)] if event.fields else [])])


def _closes() -> str:
    rows = []
    for code, close in CLOSES.items():
        error = " ".join(f"`{each}`" for each in close.codes) or "none"
        rows.append(f"| {code} | {close.doc} | {close.retry} | {close.advice} | {error} |")
    return "\n".join(
        ["| code | because | again? | what to do | `error.code` before it |", "|---|---|---|---|---|", *rows]
    )


def page() -> str:
    """Return the text of the page."""
    return _PAGE.format(
        version=VERSION,
        content_bytes=_default("limits_content_bytes"),
        ping_seconds=_default("gateway_ping_seconds"),
        hello_seconds=_default("gateway_hello_seconds"),
        heartbeat_seconds=_default("gateway_heartbeat_seconds"),
        send_bytes=_default("gateway_send_bytes"),
        log_length=_default("events_max_length"),
        log_seconds=_default("events_ttl_seconds"),
        max_frame=f"{MAX_FRAME_BYTES:,}",
        max_delta=f"{MAX_DELTA_CHARACTERS:,}",
        replaced=next(code for code, close in CLOSES.items() if close.advice.endswith("Take a new one.")),
        hello=_table(HELLO),
        place=_table(PLACE),
        events="".join(_section(name, event) for name, event in EVENTS.items()),
        closes=_closes(),
    )


# --- the document ------------------------------------------------------------------------------------------------------


def _object(fields: Sequence[Field], *, closed: bool = False) -> dict[str, Any]:
    """Return the schema of a frame. What a gateway sends may have more fields one day; a hello may not."""
    return {
        "type": "object",
        "required": [field.name for field in fields if field.required],
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": not closed,
    }


def _property(field: Field) -> dict[str, Any]:
    if "$ref" not in field.schema:
        return {**field.schema, "description": field.doc}
    schema = {"allOf": [{**field.schema}], "description": field.doc}
    return (
        schema if field.name != "usage" else {"anyOf": [{**field.schema}, {"type": "null"}], "description": field.doc}
    )


def _payload(name: str, event: EventType) -> dict[str, Any]:
    kind = Field("type", {"const": name}, f"`{name}`")
    place = [Field(field.name, field.schema, field.doc, required=event.of == "job") for field in PLACE]
    return _object([kind, *(place if event.of != "connection" else []), *event.fields])


def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    failure = _SCHEMAS["Failure"]
    error = {
        **failure,
        "description": "Of a job as its record has it; of the connection without `retryable` and `retry_after`.",
        "required": ["code", "message", "hint"],
        "additionalProperties": True,
    }
    messages = {
        "hello": {
            "title": "The client's first and only frame",
            "payload": _object(HELLO, closed=True),
        }
    } | {name: {"title": event.doc, "payload": _payload(name, event)} for name, event in EVENTS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "cloudia's WebSocket",
            "version": str(VERSION),
            "description": "Made by docs/make_protocol.py. docs/protocol.md says how to resume, and when to reconnect.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{host}",
                "protocol": "ws",
                "description": "wss where something before the gateway ends TLS.",
                "variables": {
                    "host": {"default": "127.0.0.1:8765", "description": "`cloudia status --json` tells it."}
                },
            }
        },
        "channels": {
            "session": {
                "address": "/",
                "description": "One connection of a session.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "say": {
                "action": "receive",
                "summary": "What a client says.",
                "channel": {"$ref": "#/channels/session"},
                "messages": [{"$ref": "#/channels/session/messages/hello"}],
            },
            "tell": {
                "action": "send",
                "summary": "What a client is told.",
                "channel": {"$ref": "#/channels/session"},
                "messages": [{"$ref": f"#/channels/session/messages/{name}"} for name in EVENTS],
            },
        },
        "components": {"messages": messages, "schemas": {"EventError": error, "Usage": _SCHEMAS["Usage"]}},
    }


def texts() -> dict[Path, str]:
    """Return what each file is to hold."""
    return {PAGE: page(), DOCUMENT: json.dumps(document(), indent=2, ensure_ascii=False) + "\n"}


def main() -> int:
    """Write the files, or check them."""
    made = texts()
    if "--check" in sys.argv[1:]:
        return int(any(not path.exists() or path.read_text() != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
