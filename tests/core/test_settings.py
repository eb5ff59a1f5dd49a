"""The settings: who wins, what is refused, and that a child process gets what its parent had."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cloudia.errors import UsageError
from cloudia.settings import (
    SETTINGS,
    Layer,
    Settings,
    dotted,
    environment,
    from_environment,
    from_toml,
    public_environment,
    resolve,
    to_environment,
)

KNOWN: dict[str, Any] = dict(SETTINGS)
NAMES = sorted(KNOWN)
SECRETS = {name for name, setting in KNOWN.items() if setting.secret}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def good(name: str) -> st.SearchStrategy[Any]:
    """Return a strategy of values that a setting takes."""
    setting = KNOWN[name]
    if setting.choices:
        return st.sampled_from(setting.choices)
    if setting.kind is bool:
        return st.booleans()
    if setting.kind is int:
        return st.integers(setting.low, setting.high)
    if setting.kind is float:
        return st.floats(setting.low, setting.high)
    if setting.pattern:
        return st.from_regex(setting.pattern, fullmatch=True)
    text = TEXT.filter(lambda value: "\0" not in value)
    return text.filter(bool) if setting.default and name != "llm_system_prompt" else text


ANY_SETTINGS = st.fixed_dictionaries({}, optional={name: good(name) for name in NAMES}).map(
    lambda values: Settings().changed(**values)
)


def convert(name: str, raw: Any) -> Any:
    return resolve(Layer("test", {name: raw})).settings.value(name)


def attempt(name: str, raw: Any) -> Any:
    """Return the value, or the error that refuses it."""
    try:
        return convert(name, raw)
    except UsageError as error:
        return error


# --- who wins --------------------------------------------------------------------------------------------------------


def test_the_first_layer_that_names_a_setting_wins() -> None:
    """Flag, environment, `.env`, `cloudia.toml`, default: each value knows where it came from."""
    resolved = resolve(
        Layer("flag", {"worker_concurrency": 1, "worker_poll_seconds": None}),
        environment("environment", {"CLOUDIA_WORKER_CONCURRENCY": "2", "CLOUDIA_WORKER_POLL_SECONDS": "2"}),
        environment(".env", {"CLOUDIA_WORKER_POLL_SECONDS": "3", "CLOUDIA_LLM_MODEL": "m3"}),
        from_toml("cloudia.toml", {"llm": {"model": "m4", "max_tokens": 4}}),
    )
    assert resolved.settings.worker_concurrency == 1
    assert resolved.settings.worker_poll_seconds == 2
    assert resolved.settings.llm_model == "m3"
    assert resolved.settings.llm_max_tokens == 4
    assert dict(resolved.sources) == {
        "worker_concurrency": "flag",
        "worker_poll_seconds": "environment",
        "llm_model": ".env",
        "llm_max_tokens": "cloudia.toml",
    }
    sources = {row["name"]: row["source"] for row in resolved.rows()}
    assert sources["llm.max_tokens"] == "cloudia.toml"
    assert sources["log.level"] == "default"


def test_ours_wins_over_the_usual_variable_and_empty_is_absent() -> None:
    """`CLOUDIA_X` before `AWS_X`; an empty variable is as good as none."""
    both = {"CLOUDIA_AWS_REGION": "eu-west-1", "AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}
    assert from_environment(both).aws_region == "eu-west-1"
    assert from_environment({**both, "CLOUDIA_AWS_REGION": ""}).aws_region == "eu-west-2"
    assert from_environment({**both, "CLOUDIA_AWS_REGION": "", "AWS_REGION": ""}).aws_region == "eu-west-3"
    assert from_environment({"CLOUDIA_WORKER_CONCURRENCY": ""}) == Settings()
    assert from_environment({}) == Settings()


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("AWS_REGION", "aws_region"),
        ("AWS_DEFAULT_REGION", "aws_region"),
        ("AWS_ENDPOINT_URL", "aws_endpoint_url"),
        ("REDIS_URL", "redis_url"),
        ("CLOUDIA_TOKEN", "auth_token"),
        ("OPENAI_API_KEY", "openai_api_key"),
        ("OPENAI_BASE_URL", "openai_base_url"),
        ("ANTHROPIC_API_KEY", "anthropic_api_key"),
        ("ANTHROPIC_BASE_URL", "anthropic_base_url"),
    ],
)
def test_the_usual_variables_are_read(variable: str, name: str) -> None:
    """What the AWS and LLM tools read is read here too."""
    assert from_environment({variable: "value"}).value(name) == "value"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part in a container reads `os.environ`."""
    monkeypatch.setenv("CLOUDIA_WORKER_CONCURRENCY", "7")
    assert from_environment().worker_concurrency == 7


# --- there and back --------------------------------------------------------------------------------------------------


@given(ANY_SETTINGS)
@example(Settings(llm_system_prompt=""))
def test_a_child_process_gets_the_settings_of_its_parent(settings: Settings) -> None:
    """`from_environment` is the inverse of `to_environment`, through a real environment."""
    with patch.dict(os.environ, to_environment(settings), clear=True):
        assert from_environment() == settings


def test_defaults_are_left_out() -> None:
    """An environment says only what differs."""
    assert to_environment(Settings()) == {}
    assert to_environment(Settings(up_persist=True)) == {"CLOUDIA_UP_PERSIST": "true"}


@given(ANY_SETTINGS)
def test_the_public_environment_has_no_secret(settings: Settings) -> None:
    """I6: it is the environment without the secret settings, and nothing more is missing."""
    whole, public = to_environment(settings), public_environment(settings)
    assert set(whole) - set(public) == {f"CLOUDIA_{name.upper()}" for name in SECRETS} & set(whole)
    assert public.items() <= whole.items()


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=25)
@given(st.data())
def test_what_resolve_takes_survives_the_environment(name: str, data: st.DataObject) -> None:
    """A value that a file or a flag may hold is one that an environment can carry."""
    raw = data.draw(good(name) | TEXT | st.just("\0") | st.just(""))
    value = attempt(name, raw)
    if not isinstance(value, UsageError):
        with patch.dict(os.environ, to_environment(Settings().changed(**{name: value})), clear=True):
            assert from_environment().value(name) == value


# --- what is refused -------------------------------------------------------------------------------------------------

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.integers())
    | st.dates()
)


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=25)
@given(ANYTHING)
@example(10**400)
@example("1" + "0" * 400)
@example("9" * 5000)
@example(True)
@example(float("nan"))
@example(float("inf"))
@example("nan")
@example("-inf")
@example("1e999")
def test_a_value_is_taken_as_its_type_or_refused_by_name(name: str, raw: Any) -> None:
    """Whatever a file holds: the setting has its type and keeps its bounds, or a `UsageError` names it and its source."""
    setting = KNOWN[name]
    value = attempt(name, raw)
    if isinstance(value, UsageError):
        assert dotted(name) in value.message
        assert "test" in value.message
        assert setting.doc in value.hint
        return
    if raw is None:
        assert value == setting.default
        return
    assert type(value) is setting.kind
    if setting.low is not None:
        assert setting.low <= value <= setting.high
    if setting.choices:
        assert value in setting.choices


@pytest.mark.parametrize("name", [name for name in NAMES if KNOWN[name].low is not None])
def test_bounds_are_inclusive(name: str) -> None:
    """The lowest and the highest are taken; what lies beyond is not."""
    low, high = KNOWN[name].low, KNOWN[name].high
    kind = KNOWN[name].kind
    assert convert(name, kind(low)) == low
    assert convert(name, str(kind(high))) == high
    for beyond in (low - 1, high + 1):
        with pytest.raises(UsageError, match="is not between"):
            convert(name, kind(beyond))


@pytest.mark.parametrize("name", [name for name in NAMES if KNOWN[name].kind in {bool, int, float}])
def test_a_number_has_bounds(name: str) -> None:
    """I7: no number is without a lowest and a highest value, and the default, if it has one, lies between."""
    setting = KNOWN[name]
    low, high = setting.low, setting.high
    assert setting.kind is bool or low < high
    assert setting.default is None or isinstance(setting.default, bool) or low <= setting.default <= high


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ("1", "true", "yes", "on", "TRUE", "Yes")),
        *((word, False) for word in ("0", "false", "no", "off", "FALSE", "Off")),
    ],
)
def test_words_for_true_and_false(word: str, value: bool) -> None:
    """The usual words, in any case."""
    assert convert("up_persist", word) is value


@pytest.mark.parametrize("word", ["", "2", "y", "maybe", " true", "none"])
def test_other_words_are_neither_true_nor_false(word: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match="is not a true or false"):
        convert("up_persist", word)


@pytest.mark.parametrize("raw", [True, False])
def test_true_is_not_the_number_one(raw: bool) -> None:
    """`concurrency = true` in a file is a mistake, not 1."""
    for name in ("worker_concurrency", "api_port", "llm_gap_seconds", "llm_model"):
        with pytest.raises(UsageError):
            convert(name, raw)


@pytest.mark.parametrize("raw", ["1.5", "1e3", "", "x", 1.0, [1]])
def test_a_whole_number_is_whole(raw: Any) -> None:
    """A fraction is not cut off silently."""
    with pytest.raises(UsageError, match="is not a whole number"):
        convert("worker_concurrency", raw)


def test_a_number_may_be_written_whole() -> None:
    """`gap_seconds = 5` in a file is 5.0."""
    assert convert("llm_gap_seconds", 5) == 5.0


def test_text_has_no_nul() -> None:
    """No environment can carry one, so that a child process could not be started."""
    with pytest.raises(UsageError, match="is not a text"):
        convert("llm_system_prompt", "be\0brief")


@pytest.mark.parametrize("name", ["", "my stack", "a/b", "a.b", "é", "n" * 65, "a\n"])
def test_a_stack_name_is_one_that_aws_takes(name: str) -> None:
    """Every resource bears it, so what SQS, DynamoDB or SSM would refuse is refused here, by name."""
    with pytest.raises(UsageError, match=r"stack\.name"):
        convert("stack_name", name)


@pytest.mark.parametrize("name", ["aws_region", "auth_user", "gateway_host", "up_llm", "stack_name"])
def test_text_that_is_needed_cannot_be_emptied(name: str) -> None:
    """An empty host would listen everywhere, an empty name is nobody's: leave it out for the default."""
    with pytest.raises(UsageError):
        convert(name, "")


def test_the_system_prompt_may_be_empty() -> None:
    """Without a system prompt the LLM gets none; that is a choice, in a file and in the environment."""
    assert convert("llm_system_prompt", "") == ""
    assert from_environment({"CLOUDIA_LLM_SYSTEM_PROMPT": ""}).llm_system_prompt == ""


def test_a_message_of_the_highest_limit_fits_a_queue_message() -> None:
    """I1: what is accepted can be sent. A byte of content may be an escape of six in JSON; SQS takes 1 MiB."""
    assert KNOWN["limits_content_bytes"].high * 6 + 4096 < 1_048_576


# --- cloudia.toml ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"worker": {"concurency": 1}}, "worker.concurency"),
        ({"wroker": {"concurrency": 1}}, "wroker.concurrency"),
        ({"llm_system": {"prompt": "x"}}, "llm_system.prompt"),
        ({"concurrency": 1}, "'concurrency'"),
        ({"worker": 5}, "'worker'"),
    ],
)
def test_an_unknown_key_is_refused_by_name(document: dict[str, Any], named: str) -> None:
    """A typing mistake is told, with the file it stands in; and each setting has one place, not several."""
    with pytest.raises(UsageError) as refused:
        from_toml("cloudia.toml", document)
    assert named in refused.value.message
    assert "cloudia.toml" in refused.value.message


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_place_in_the_file(name: str) -> None:
    """`worker.concurrency` is the key `concurrency` of `[worker]`."""
    table, key = dotted(name).split(".")
    value = KNOWN[name].default
    assert dict(from_toml("cloudia.toml", {table: {key: value}}).values) == {name: value}


def test_a_table_within_a_setting_is_refused() -> None:
    """`[worker.concurrency]` is no value of a setting."""
    with pytest.raises(UsageError, match=r"worker\.concurrency"):
        resolve(from_toml("cloudia.toml", {"worker": {"concurrency": {"most": 5}}}))


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_rows_show_every_setting() -> None:
    """One row a setting, each with its variable and what it is."""
    rows = resolve().rows()
    assert [row["name"] for row in rows] == [dotted(name) for name in KNOWN]
    assert all(row["env"].startswith("CLOUDIA_") and row["doc"] for row in rows)
    assert len({row["env"] for row in rows}) == len(rows)


@given(st.sampled_from(sorted(SECRETS)), st.text("abcdefgh", min_size=1, max_size=60))
def test_secrets_are_masked(name: str, secret: str) -> None:
    """I6: of a secret at most the last four characters are shown, and of a short one nothing."""
    rows = {row["name"]: row["value"] for row in resolve(Layer("flag", {name: secret})).rows()}
    shown = rows[dotted(name)]
    assert shown == ("••••" + secret[-4:] if len(secret) > 12 else "••••")


def test_what_is_absent_is_not_masked() -> None:
    """An empty secret is shown as empty, so that one sees that it is missing."""
    rows = {row["name"]: row["value"] for row in resolve().rows()}
    assert all(rows[dotted(name)] == "" for name in SECRETS)


def test_secrets_are_the_settings_named_like_secrets() -> None:
    """I6: no key or token is forgotten in the list of secrets."""
    assert {name for name in NAMES if name.endswith(("_key", "_key_id", "_token", "_secret", "_password"))} == SECRETS


def test_settings_cannot_be_changed() -> None:
    """Settings are values; another value is another object."""
    settings = Settings()
    assert replace(settings, worker_concurrency=5) != settings
    with pytest.raises(AttributeError):
        settings.worker_concurrency = 5  # type: ignore[misc]
