"""What is kept of what a provider sent: bytes, times and ends as they were, no secret, and no text unless it is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.sim.llm.blanks import without_secrets, without_text
from cloudia.sim.llm.case import parse
from cloudia.sim.llm.recording import MAX_BYTES, Heard, Recording


def _heard(*pieces: tuple[float, bytes], **more: Any) -> Heard:
    given: dict[str, Any] = {"api": "openai", "job_id": None, "asked": "my secret plan", "secrets": ["sk-123456"]}
    heard = Heard(**{**given, "status": 200, "began": 0.1, **more})
    for when, piece in pieces:
        heard.note(when, piece)
    return heard


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (
            b'data: {"id":"c-1","choices":[{"delta":{"role":"assistant","content":"Ol\\u00e1, Bob 42!\\n"}}]}\n\n',
            b'data: {"id":"c-1","choices":[{"delta":{"role":"assistant","content":"xxxxxxxx, xxx 11!\\n"}}]}\n\n',
        ),
        (b"data: [DONE]\r\n\r\n", b"data: [DONE]\r\n\r\n"),
        (b"event: content_block_delta\rdata: plain words\r", b"event: content_block_delta\rdata: xxxxx xxxxx\r"),
        (b": OPENROUTER PROCESSING\n\n", b": xxxxxxxxxx xxxxxxxxxx\n\n"),
        (b'{"usage":{"n":12},"error":null,"ok":true}', b'{"usage":{"n":12},"error":null,"ok":true}'),
        (b'{"type":"x","list":["a",{"type":"t"},"bc"]}', b'{"type":"x","list":["x",{"type":"t"},"xx"]}'),
        (b'{"content":[{"type":"text","text":"hi"}]}', b'{"content":[{"type":"text","text":"xx"}]}'),
        (b'{"bytes":[72,105],"logprob":-0.5}', b'{"bytes":[11,111],"logprob":-0.5}'),
        (b'{"content":"cut of', b'{"content":"xxx xx'),
        (b'{"type":"cut of', b'{"type":"xxx xx'),
        ('{"content":"é"}'.encode(), b'{"content":"xx"}'),
        (b"<html>Bad Gateway</html>", b"<xxxx>xxx xxxxxxx</xxxx>"),
        (b'\xef\xbb\xbfdata: {"content":"hi"}\n\n', b'\xef\xbb\xbfdata: {"content":"xx"}\n\n'),
        (b'{"arguments":"{\\"city\\": \\"Oslo\\"}"}', b'{"arguments":"{\\"xxxx\\": \\"xxxx\\"}"}'),
    ],
)
def test_text_goes_and_the_shape_stays(sent: bytes, kept: bytes) -> None:
    """Letters become x, digits 1; the protocol's own words, numbers, lines and lengths are what they were."""
    assert without_text(sent) == kept


@given(st.text(), st.text(alphabet='data: {}[]",\\\n\r', max_size=40))
def test_no_text_is_left_and_no_byte_moves(text: str, noise: str) -> None:
    """Whatever stands around it, as many bytes come out as went in; of a text in JSON no letter and no digit is left."""
    for raw in (json.dumps({"content": text}).encode(), noise.encode(), f"{noise}{json.dumps(text)}{noise}".encode()):
        assert len(without_text(raw)) == len(raw)
    masked = json.loads(without_text(json.dumps({"content": text}).encode()))["content"]
    assert not [each for each in masked if each.isalnum() and each not in "x1"]


@pytest.mark.parametrize(
    "said",
    [b"Incorrect API key provided: sk-123456.", b"wrong key sk-pr***************9xyz", b"AIzaSyD-1234567 is not valid"],
)
def test_no_key_is_left(said: bytes) -> None:
    """Neither the request's own key, nor one that only looks like it, is kept with the text."""
    kept = without_secrets(said, ["sk-123456"])
    assert len(kept) == len(said)
    assert b"xxxx" in kept
    for part in (b"123456", b"9xyz", b"SyD"):
        assert part not in kept


def test_a_recording_is_a_case_that_plays_the_same() -> None:
    """Pieces, pauses, status and the way it ends come back; headers that tell of the account do not."""
    recording = Recording("mine", "Recorded.", text=True)
    headers = [("Content-Type", "text/event-stream"), ("Set-Cookie", "a=b"), ("openai-organization", "acme")]
    pieces = ((0.1, b"data: a\n\n"), (0.1005, b"\xff"), (0.4, b"b"))
    assert recording.add(_heard(*pieces, job_id="job_1", headers=headers, end="reset"))
    assert recording.add(_heard((0.1, b"c"), job_id="job_1", status=503, framing="length"))
    assert recording.add(_heard((0.1, b"d"), job_id="job_2"))
    document = json.loads(json.dumps(recording.to_json()))
    assert document["turns"][0]["send"] == "my secret plan"
    assert "acme" not in json.dumps(document)
    (first, second), (third,) = (turn["openai"] for turn in parse(document).turns)
    assert list(first.body) == [b"data: a\n\n", b"\xff", 0.3, b"b"]
    assert (first.wait, first.end, first.framing) == (0.1, "reset", "chunked")
    assert (second.status, second.framing, list(third.body)) == (503, "length", [b"d"])


def test_unless_asked_no_text_is_kept() -> None:
    """Neither the question nor the answer is in the case; a compressed answer, which cannot be masked, is refused."""
    recording = Recording("mine", "Recorded.", text=False)
    assert recording.add(_heard((0.1, b'data: {"content":"hel'), (0.2, b'lo Ada"}\n\n')))
    document = json.dumps(recording.to_json())
    for word in ("secret", "hel", "Ada"):
        assert word not in document
    assert not recording.add(_heard((0.1, b"\x1f\x8b"), headers=[("Content-Encoding", "gzip")]))
    assert recording.answers == 1


def test_a_recording_is_bounded() -> None:
    """What would make it too large to be played is not added, nor held while it comes."""
    recording = Recording("mine", "Recorded.", text=True)
    heard = _heard(*[(0.1, b"x" * (MAX_BYTES // 2))] * 5)
    assert len(heard.pieces) == 2
    assert not recording.add(heard)
    assert recording.answers == 0
