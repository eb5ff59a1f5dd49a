"""`/operator/…`: what whoever runs the stack sees and does over HTTP, with a token of that role; as the verbs do."""

from __future__ import annotations

import os
import re
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from cloudia import telemetry
from cloudia.errors import ConflictError, InvalidRequestError, NotFoundError
from cloudia.functions.http import Answer, Request, conversation_id_of, function, job_id_of
from cloudia.functions.services import in_lambda
from cloudia.operate.costs import By, costs, jobs_since, total
from cloudia.operate.dead_letters import DeadLetters, Edit
from cloudia.operate.edits import checked_edit
from cloudia.operate.evidence import find_job, gather
from cloudia.operate.job_pages import job_page, rows
from cloudia.operate.job_view import attempts_view, job_view
from cloudia.operate.live import live
from cloudia.operate.recent import FAILED, STATES
from cloudia.operate.waterfall import waterfall
from cloudia.operate.why import why
from cloudia.prices.llm import LlmPrices, own_prices
from cloudia.protocol import decode_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudia.cloud.cloud import Cloud
    from cloudia.cloud.job_index import JobState
    from cloudia.operate.dead_letters import Shelf
    from cloudia.operate.letters import Letter

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURES = frozenset({"true", "span_only", "event_only", "span_and_event"})
_SHOWN: Mapping[str, tuple[JobState, ...]] = {
    **{state: (state,) for state in STATES},
    "all": STATES,
    "unanswered": FAILED,
}
_BY: Mapping[str, By] = {"model": "model", "user": "user", "conversation": "conversation", "day": "day"}
_MOST_LETTERS = 100
_MOST_COUNTED = 5000
"""Jobs whose cost one request adds up, at most."""
_MOST_SECONDS = 30 * 86_400
"""How long a record is kept."""
_MOST_ROWS = 200
_PATIENCE_SECONDS = 8.0
"""For letters that others hold. Twice that is within the time that an HTTP API waits."""
_NUMBER = re.compile(r"[0-9]{1,7}(\.[0-9]{1,3})?")
_MAX_USER = 128


@function
def handler(request: Request) -> Answer:
    """Answer a route of the operator's."""
    _ = request.operator_id
    return 200, _ROUTES[str(request.event.get("routeKey"))](request)


def content_is_shown() -> bool:
    """Tell whether an operator may read messages: on a laptop, and elsewhere where `CAPTURE` lets telemetry have them."""
    return not in_lambda() or os.environ.get(CAPTURE, "").strip().lower() in _CAPTURES


# --- looking ----------------------------------------------------------------------------------------------------------


def _live(request: Request) -> dict[str, Any]:
    return live(request.services, now=time.time())


def _jobs(request: Request) -> dict[str, Any]:
    limit, cursor = request.page("state", "slower")
    states = _SHOWN.get(request.query.get("state", "all"))
    if states is None:
        raise InvalidRequestError(f"state is not one of {', '.join(_SHOWN)}", code="wrong_type")
    slower = _number(request, "slower", 0.0)
    found, following = job_page(request.services, states, limit=limit, cursor=cursor)
    return {"jobs": rows(found, now=time.time(), slower=slower), "next_cursor": following}


def _job(request: Request) -> dict[str, Any]:
    to = request.services
    job = find_job(to, job_id_of(request))
    reason = why(gather(to, _letters(to), to.settings, job))
    shown = content_is_shown()
    prompt = to.history.message(job.conversation_id, job.message_id) if shown else None
    reply = to.history.message(job.conversation_id, job.reply_message_id) if shown and job.reply_message_id else None
    return {
        **job_view(waterfall(job, now=time.time())),
        **reason.to_json(),
        "content_shown": shown,
        "prompt": prompt.content if prompt else None,
        "answer": reply.content if reply else None,
    }


def _costs(request: Request) -> dict[str, Any]:
    _known(request, "since_seconds", "by")
    by = _BY.get(request.query.get("by", "model"))
    if by is None:
        raise InvalidRequestError(f"by is not one of {', '.join(_BY)}", code="wrong_type")
    seconds = min(_number(request, "since_seconds", 86_400.0), _MOST_SECONDS)
    since = time.time() - seconds
    jobs = list(islice(jobs_since(request.services.jobs, since), _MOST_COUNTED + 1))
    prices = LlmPrices(own_prices(request.services.settings.llm_prices))
    found = costs(jobs[:_MOST_COUNTED], by, since=since, prices=prices)
    return {
        "since_seconds": seconds,
        "by": by,
        "rows": [each.to_json() for each in found[:_MOST_ROWS]],
        "total": total(found).to_json(),
        "whole": len(jobs) <= _MOST_COUNTED and len(found) <= _MOST_ROWS,
    }


def _conversations(request: Request) -> dict[str, Any]:
    limit, cursor = request.page("user")
    page = request.services.history.conversations(_user(request), limit=limit, cursor=cursor).to_json("conversations")
    return (
        page if content_is_shown() else {**page, "conversations": [_untitled(each) for each in page["conversations"]]}
    )


def _messages(request: Request) -> dict[str, Any]:
    conversation_id = conversation_id_of(request)
    limit, cursor = request.page("user")
    page = request.services.history.messages(_user(request), conversation_id, limit=limit, cursor=cursor)
    found = page.to_json("messages")
    if not content_is_shown():
        found["messages"] = [{**each, "content": None} for each in found["messages"]]
        found["conversation"] = _untitled(found["conversation"])
    return found


def _untitled(conversation: Mapping[str, Any]) -> dict[str, Any]:
    """Return a conversation without its title, which is made of its first message."""
    return {**conversation, "title": None}


# --- dead letters -----------------------------------------------------------------------------------------------------


def _dead_letters(request: Request) -> dict[str, Any]:
    _known(request, "limit")
    limit, _ = request.page()
    shelf, now = _letters(request.services).look(), time.time()
    found = [letter.to_json(now=now) for letter in shelf.letters[:limit]]
    return {"letters": found, "count": len(shelf.letters), "unseen": shelf.unseen}


def _dead_letter(request: Request) -> dict[str, Any]:
    (letter,) = _chosen(_letters(request.services).look(), [request.path_parameter("id")])
    shown = content_is_shown()
    return {
        **letter.to_json(now=time.time()),
        "content_shown": shown,
        "content": letter.job.content if shown and letter.job else None,
        "body": letter.message.body if shown and not letter.job else None,
        "model": letter.job.model if letter.job else None,
        "attempt_history": attempts_view(letter.record.attempt_history if letter.record else ()),
    }


def _redrive(request: Request) -> dict[str, Any]:
    to, letters = request.services, _letters(request.services)
    wanted = _body(request, "content", "model")
    edit = checked_edit(wanted, max_content_bytes=to.settings.limits_content_bytes)
    ids = _ids(wanted)
    if edit != Edit() and len(ids) != 1:
        raise InvalidRequestError("one letter can be changed at a time", hint="Name one id beside content or model.")
    chosen = _chosen(letters.look(), ids)
    if edit != Edit() and not chosen[0].redrivable:
        raise ConflictError("that letter is no job that can be redriven", hint="Purge it.", code="not_a_job")
    edits = {letter.message.message_id: edit for letter in chosen}
    outcomes = list(letters.redrive(chosen, edits=edits, patience=_PATIENCE_SECONDS))
    telemetry.log("dead letters redriven", operator=request.operator_id, letters=len(outcomes))
    return {"letters": [outcome.to_json() for outcome in outcomes]}


def _purge(request: Request) -> dict[str, Any]:
    letters = _letters(request.services)
    chosen = _chosen(letters.look(), _ids(_body(request)))
    purged = letters.purge(chosen, patience=_PATIENCE_SECONDS)
    telemetry.log("dead letters purged", operator=request.operator_id, letters=purged.deleted)
    return purged.to_json()


def _letters(to: Cloud) -> DeadLetters:
    return DeadLetters(to.dead_letters, to.queue, to.jobs)


def _chosen(shelf: Shelf, ids: Sequence[str]) -> list[Letter]:
    """Return the letters of these ids, each once. `NotFoundError` where one is not there, or others hold it."""
    chosen: dict[str, Letter] = {}
    for wanted in ids:
        found = [letter for letter in shelf.letters if wanted in {letter.id, letter.message.message_id}]
        if not found:
            hint = (
                "Others hold some letters now: ask again in a moment." if shelf.unseen else "It may have been redriven."
            )
            raise NotFoundError("there is no such dead letter", hint=hint, code="no_letter")
        chosen |= {letter.message.message_id: letter for letter in found}
    return list(chosen.values())


# --- what a request says ----------------------------------------------------------------------------------------------


def _body(request: Request, *optional: str) -> dict[str, Any]:
    """Return a body that names letters. `InvalidRequestError` where it has another field."""
    wanted = decode_object(request.body)
    unknown = sorted(wanted.keys() - {"ids", *optional})
    if unknown:
        raise InvalidRequestError(f"the body has an unknown field {unknown[0][:64]!r}", code="unknown_field")
    return wanted


def _ids(wanted: Mapping[str, Any]) -> list[str]:
    ids = wanted.get("ids")
    if not (isinstance(ids, list) and 1 <= len(ids) <= _MOST_LETTERS and all(isinstance(each, str) for each in ids)):
        raise InvalidRequestError(f"ids is not a list of 1 to {_MOST_LETTERS} ids of letters", code="wrong_type")
    return ids


def _known(request: Request, *names: str) -> None:
    """Refuse a parameter of the query that is none of these."""
    unknown = sorted(set(request.query) - set(names))
    if unknown:
        raise InvalidRequestError(f"unknown query parameter {unknown[0][:64]!r}", code="unknown_parameter")


def _number(request: Request, name: str, default: float) -> float:
    raw = request.query.get(name)
    if raw is None:
        return default
    if not _NUMBER.fullmatch(raw):
        raise InvalidRequestError(f"{name} is not a number of seconds", code="wrong_type")
    return float(raw)


def _user(request: Request) -> str:
    user = request.query.get("user", "")
    if not 0 < len(user) <= _MAX_USER:
        raise InvalidRequestError("user is not the name of a user", hint="Say whose: ?user=…", code="missing_field")
    return user


_ROUTES: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "GET /operator/live": _live,
    "GET /operator/jobs": _jobs,
    "GET /operator/jobs/{id}": _job,
    "GET /operator/costs": _costs,
    "GET /operator/dead-letters": _dead_letters,
    "GET /operator/dead-letters/{id}": _dead_letter,
    "POST /operator/dead-letters/redrive": _redrive,
    "POST /operator/dead-letters/purge": _purge,
    "GET /operator/conversations": _conversations,
    "GET /operator/conversations/{id}/messages": _messages,
}
