"""The scripted LLM: what the stack's simulated provider answers next, and what it was asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2

from cloudia.errors import NotFoundError, PartError, request_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["LLMRequest", "ScriptedLLM"]

_SECONDS = 5.0
_SETTLE_SECONDS = 1.0
"""An answer can reach a client a moment before the provider has counted its request."""
_KEEP = 1_000
"""Of how many requests the provider keeps the prompts: as many as it lists."""
_FULL_PACE = {"ttft": 0, "tps": 0}


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One request that the provider had from the worker."""

    provider: str
    """Whose API was spoken: `openai` or `anthropic`."""
    model: str
    outcome: str
    """`answered`, `played`, what struck it (`status`, `hang`, `timeout`, `cut`, `garbage`), `disconnected` or `refused`."""
    job_id: str | None
    attempt: int | None
    """Of the job, counted from 1."""
    completion_tokens: int
    _prompt: Mapping[str, Any] | None = field(repr=False, compare=False)

    @property
    def messages(self) -> list[dict[str, str]]:
        """What was said, in order, the same for both providers: `[{"role": "system", "content": "…"}, {"role": "user", …}]`.

        The roles are `system user assistant tool`. A content in parts is joined by newlines, an image is `[image_url]`.
        """
        messages: list[dict[str, str]] = self._kept["messages"]
        return messages

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were offered."""
        tools: list[str] = self._kept["tools"]
        return tools

    @property
    def body(self) -> dict[str, Any]:
        """The request as it was sent, in the provider's own words: tools with their schemas, `temperature`, all there is."""
        body: dict[str, Any] = self._kept["body"]
        return body

    @property
    def _kept(self) -> Mapping[str, Any]:
        if self._prompt is None:
            raise NotFoundError(
                "what this request said was not kept",
                hint="It was refused, or more came since than the provider keeps: a thousand requests, 16 MB.",
                code="not_kept",
            )
        return self._prompt


class ScriptedLLM:
    """The simulated provider at `url`, whose control `token` opens.

    Without a script it makes up an answer, the same one for the same messages.
    """

    def __init__(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def reply(self, text: str, *, times: int = 1) -> None:
        """Answer the next `times` requests with `text`; what was scripted before comes first."""
        self._call("POST", "replies", {"text": text, "times": times})

    def fail(
        self,
        kind: Literal["status", "hang", "timeout", "cut", "garbage"] = "status",
        *,
        status: int | None = None,
        times: int | None = 1,
        retry_after: float | None = None,
        after_tokens: int | None = None,
    ) -> None:
        """Fail the next `times` requests, all of this test's where that is None; a failure uses no reply up.

        status   answers `status`, 500 unless told, with a Retry-After of `retry_after` seconds
        hang     never answers
        timeout  answers 504 after 30 s
        cut      breaks off after `after_tokens` tokens, 5 unless told
        garbage  answers what is neither JSON nor an event
        """
        wanted = {"status": status, "count": times, "retry_after": retry_after, "after_tokens": after_tokens}
        self._call(
            "POST", "faults", {"kind": kind, **{name: each for name, each in wanted.items() if each is not None}}
        )

    def play(self, case: str | Mapping[str, Any] | Path, *, times: int = 1) -> None:
        """Answer as a real server was seen to, to the byte: by the name of a case, its file, or the case itself.

        The next job takes the case's first turn and keeps it through all its attempts, the last answer repeating; the job
        after it takes the next turn. The whole is played `times` times, and comes before failures and replies. `cloudia chaos
        llm case --list` has the names, docs/provider-cases.md the format.

            cloudia_llm.play("openai-429-quota")
            assert cloudia_client.ask("hello").status == "failed"
        """
        from cloudia.sim.llm.corpus import find_case  # noqa: PLC0415 - only where it is needed

        document = find_case(str(case)) if isinstance(case, str | Path) else case
        self._call("POST", "cases", {"case": document, "times": times})

    def pace(self, *, first_token_seconds: float = 0.0, tokens_per_second: float = 0.0) -> None:
        """Answer this slowly: as slowly as a test of streaming or of cancelling needs. 0 is as fast as can be."""
        self._call("POST", "settings", {"ttft": first_token_seconds, "tps": tokens_per_second})

    @property
    def requests(self) -> list[LLMRequest]:
        """What the worker asked since the test began, the first one first, once each request that is under way has ended.

        One that does not end within a second is not waited for, and not among them.

            cloudia_client.ask("and in winter?")
            (asked,) = cloudia_llm.requests
            assert asked.model == "gpt-5-mini"
            assert asked.messages[0] == {"role": "system", "content": TONE}
            assert asked.messages[-1] == {"role": "user", "content": "and in winter?"}
            assert asked.tools == ["look_up"]
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (counted := self._call("GET", "requests"))["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.01)
        prompts = {prompt["sequence"]: prompt for prompt in self._call("GET", "prompts")["prompts"]}
        return [
            LLMRequest(
                provider=record["api"],
                model=record["model"],
                outcome=record["outcome"],
                job_id=record["job_id"],
                attempt=int(record["attempt"]) if record["attempt"] else None,
                completion_tokens=record["completion_tokens"],
                _prompt=prompts.get(record["sequence"]),
            )
            for record in counted["records"]
        ]

    def reset(self) -> None:
        """Forget cases, replies, failures and requests, and answer as fast as can be; keep what requests say from now on."""
        for name in ("cases", "replies", "faults", "requests"):
            self._call("DELETE", name)
        self._call("POST", "prompts", {"keep": _KEEP})
        self._call("POST", "settings", _FULL_PACE)

    def _call(self, method: str, name: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = self._http.request(method, f"/_cloudia/{name}", json=body)
        except httpx2.HTTPError as error:
            raise PartError("the simulated provider does not answer", hint="Is `up.llm` of this stack sim?") from error
        if response.is_success:
            return response.json()
        raise request_error(response.status_code, response.json())
