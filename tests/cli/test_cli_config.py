"""`cloudia config`, `token` and `doctor`: what is known without a stack."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from cloudia.providers import PROVIDERS
from tests.cli.terminal import terminal
from tests.support import cli

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "sk-test-0123456789abcdefWXYZ"


def _rows(folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    shown = cli("config", "--json", folder=folder, environment=environment)
    assert shown.returncode == 0, shown.stderr
    return {row["name"]: row for row in json.loads(shown.stdout)["settings"]}


def test_sources_in_their_order(tmp_path: Path) -> None:
    """The environment wins over `.env`, that over `cloudia.toml`, that over the default; each row names its source."""
    (tmp_path / "cloudia.toml").write_text(
        '[worker]\nconcurrency = 4\nmax_attempts = 4\ngrace_seconds = 4\n[llm]\nmodel = "from-toml"\n'
    )
    (tmp_path / ".env").write_text(
        "CLOUDIA_WORKER_CONCURRENCY=5\nCLOUDIA_WORKER_MAX_ATTEMPTS=5\nAWS_REGION=eu-west-1\n"
    )
    rows = _rows(tmp_path, CLOUDIA_WORKER_CONCURRENCY="6")
    told = {name: (row["value"], row["source"]) for name, row in rows.items()}
    assert told["worker.concurrency"] == (6, "environment")
    assert told["worker.max_attempts"] == (5, ".env")
    assert told["worker.grace_seconds"] == (4.0, "cloudia.toml")
    assert told["llm.model"] == ("from-toml", "cloudia.toml")
    assert told["aws.region"] == ("eu-west-1", ".env")
    assert told["worker.poll_seconds"] == (20, "default")


def test_a_flag_wins(tmp_path: Path) -> None:
    """A flag of `up` wins over the environment: here it is the one that is wrong."""
    refused = cli("up", "--detach", "--workers", "65", folder=tmp_path, environment={"CLOUDIA_UP_WORKERS": "1"})
    assert refused.returncode == 2
    assert "up.workers (from flag)" in refused.stderr


def test_the_usual_names(tmp_path: Path) -> None:
    """`AWS_*`, `REDIS_URL`, `OPENAI_*` and `ANTHROPIC_*` are read too, and our own names win over them."""
    rows = _rows(
        tmp_path,
        AWS_ENDPOINT_URL="http://127.0.0.1:4566",
        AWS_DEFAULT_REGION="eu-north-1",
        REDIS_URL="redis://127.0.0.1:1/0",
        OPENAI_BASE_URL="http://127.0.0.1:2/v1",
        CLOUDIA_OPENAI_BASE_URL="http://127.0.0.1:3/v1",
    )
    assert rows["aws.endpoint_url"]["value"] == "http://127.0.0.1:4566"
    assert rows["aws.region"]["value"] == "eu-north-1"
    assert rows["redis.url"]["value"] == "redis://127.0.0.1:1/0"
    assert rows["openai.base_url"]["value"] == "http://127.0.0.1:3/v1"


@pytest.mark.parametrize("where", ["environment", ".env"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_masked(where: str, form: list[str], tmp_path: Path) -> None:
    """A secret shows where it came from and its last characters, wherever it stands and however it is printed."""
    variables = {"OPENAI_API_KEY": _KEY, "CLOUDIA_TOKEN": "short-one"}
    if where == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        variables = {}
    shown = cli("config", *form, folder=tmp_path, environment=variables)
    assert shown.returncode == 0
    assert _KEY not in shown.stdout
    assert _KEY[:10] not in shown.stdout
    assert "WXYZ" in shown.stdout
    assert "short-one" not in shown.stdout


async def test_config_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal what differs from its default stands out; piped it is the same text, plain."""
    with terminal("config", folder=tmp_path, CLOUDIA_LLM_MODEL="a-model") as shown:
        assert await shown.ends() == 0
        assert "\x1b[1ma-model" in shown.raw
    assert "\x1b" not in cli("config", folder=tmp_path).stdout


@pytest.mark.parametrize("verb", [["config"], ["up", "--detach"], ["up"]], ids=" ".join)
def test_a_bad_cloudia_toml(verb: list[str], tmp_path: Path) -> None:
    """A mistake in `cloudia.toml` exits 2 and names the line. Nothing is started."""
    (tmp_path / "cloudia.toml").write_text("[worker]\nconcurrency = \n")
    shown = cli(*verb, folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    error, hint = shown.stderr.splitlines()
    assert error.startswith("error: cloudia.toml is not TOML: ")
    assert "line 2" in error
    assert hint == "hint: Mend that line."
    assert not (tmp_path / ".cloudia").exists()


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    """A variable of a wrong type is named by its setting and its source; an empty one counts as absent."""
    shown = cli("config", folder=tmp_path, environment={"CLOUDIA_WORKER_CONCURRENCY": "many"})
    assert shown.returncode == 2
    assert "worker.concurrency (from environment) is not a whole number" in shown.stderr
    assert _rows(tmp_path, CLOUDIA_WORKER_CONCURRENCY="")["worker.concurrency"]["source"] == "default"


def test_the_project_is_the_folder_around(tmp_path: Path) -> None:
    """A verb that is run below the folder with `cloudia.toml` belongs to that folder."""
    (tmp_path / "cloudia.toml").write_text('[llm]\nmodel = "above"\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert _rows(inner)["llm.model"]["value"] == "above"


# --- token ----------------------------------------------------------------------------------------------------------------


def test_token_claims(tmp_path: Path) -> None:
    """A token is an HS256 JWT with the user, the time it was made and the time it expires, signed with this folder's secret."""
    shown = cli("token", "--user", "alice", "--ttl", "60", folder=tmp_path)
    assert shown.returncode == 0
    secret = json.loads((tmp_path / ".cloudia" / "secrets.json").read_text())["token"]
    claims = jwt.decode(shown.stdout.strip(), secret, algorithms=["HS256"])
    assert set(claims) == {"sub", "iat", "exp"}
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 10
    assert shown.stderr == ""


def test_token_as_json_for_the_configured_user(tmp_path: Path) -> None:
    """`--json` also tells whose it is and for how long; issuer and audience are put in where they are configured."""
    shown = cli(
        "token",
        "--json",
        folder=tmp_path,
        environment={"CLOUDIA_AUTH_USER": "bob", "CLOUDIA_AUTH_ISSUER": "me", "CLOUDIA_AUTH_AUDIENCE": "you"},
    )
    told = json.loads(shown.stdout)
    assert set(told) == {"token", "user", "expires_in"}
    assert (told["user"], told["expires_in"]) == ("bob", 3600)
    claims = jwt.decode(told["token"], options={"verify_signature": False})
    assert (claims["sub"], claims["iss"], claims["aud"]) == ("bob", "me", "you")


def test_a_user_that_cannot_be_one(tmp_path: Path) -> None:
    """A name with control characters or over 128 characters is refused."""
    for name in ("a\nb", "x" * 129):
        shown = cli("token", "--user", name, folder=tmp_path)
        assert shown.returncode == 2
        assert shown.stdout == ""
        assert "1 to 128 characters" in shown.stderr


def test_secrets_that_cannot_be_read(tmp_path: Path) -> None:
    """A broken `secrets.json` is told with what to do, and is not silently replaced."""
    (tmp_path / ".cloudia").mkdir()
    (tmp_path / ".cloudia" / "secrets.json").write_text("{}")
    shown = cli("token", folder=tmp_path)
    assert shown.returncode == 2
    assert "hint: Delete it" in shown.stderr
    assert (tmp_path / ".cloudia" / "secrets.json").read_text() == "{}"


# --- doctor ---------------------------------------------------------------------------------------------------------------


def test_doctor_on_this_machine(tmp_path: Path) -> None:
    """Where the tests run, nothing that `cloudia up` needs is missing. Every check says what was found."""
    shown = cli("doctor", "--json", folder=tmp_path)
    assert shown.returncode == 0, shown.stdout
    told = json.loads(shown.stdout)
    assert told["ok"] is True
    states = {check["name"]: check["state"] for check in told["checks"]}
    states.pop("proxy", None)  # Whoever runs the tests may need one.
    engines = {"engine", "localstack", "endpoint"}
    llms = {"openai", "other llms"}
    assert {"python", "folder", "settings", *engines, "redis", "collector", "ports", *llms, "docker"} == set(states)
    assert states["openai"] == states["other llms"] == "optional"
    assert all(set(check) == {"name", "state", "found", "hint"} for check in told["checks"])
    assert all(check["hint"] or check["state"] == "ok" for check in told["checks"] if check["name"] != "docker")


def test_doctor_has_a_line_for_each_llm_that_is_named_or_has_a_key(tmp_path: Path) -> None:
    """The one that `up` shall ask must have its key; those that need one and are nowhere named share a line."""
    environment = {
        "CLOUDIA_UP_LLM": "mistral",
        "CLOUDIA_LLM_FALLBACK": "groq:m, ollama:n",
        "DEEPSEEK_API_KEY": _KEY,
        "OPENAI_API_KEY": "",
    }
    shown = cli("doctor", "--json", folder=tmp_path, environment=environment)
    assert shown.returncode == 1
    checks = {check["name"]: check for check in json.loads(shown.stdout)["checks"]}
    states = {name: check["state"] for name, check in checks.items() if name in PROVIDERS}
    assert states == {"openai": "optional", "groq": "optional", "mistral": "missing", "deepseek": "ok"}
    (others,) = [check for name, check in checks.items() if name == "other llms"]
    assert {"anthropic", "openrouter", "gemini", "azure"} == set(others["found"].removeprefix("no key of ").split(", "))


def test_doctor_masks_keys(tmp_path: Path) -> None:
    """Of an API key no more than its end is shown."""
    shown = cli("doctor", folder=tmp_path, environment={"OPENAI_API_KEY": _KEY})
    assert "a key that ends in WXYZ" in shown.stdout
    assert _KEY not in shown.stdout


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"CLOUDIA_UP_ENGINE": "endpoint"}, "engine"),
        ({"CLOUDIA_UP_ENGINE": "endpoint", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "engine"),
        ({"CLOUDIA_UP_ENGINE": "localstack", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "engine"),
        ({"CLOUDIA_WORKER_CONCURRENCY": "many"}, "settings"),
        ({"CLOUDIA_LLM_FALLBACK": "nobody:m"}, "llm.fallback"),
    ],
)
def test_doctor_names_what_is_missing(environment: dict[str, str], name: str, tmp_path: Path) -> None:
    """Where something that `up` needs is missing, doctor exits 1, names it and says how to get it."""
    shown = cli("doctor", "--json", folder=tmp_path, environment=environment)
    assert shown.returncode == 1
    told = json.loads(shown.stdout)
    assert told["ok"] is False
    (missing,) = [check for check in told["checks"] if check["state"] == "missing"]
    assert missing["name"] == name
    assert missing["hint"]


def test_doctor_asks_the_llm_where_it_is_asked_to(tmp_path: Path) -> None:
    """`--llm` is one check more, which fails where nothing listens; without it nobody is asked."""
    environment = {"CLOUDIA_UP_LLM": "http://127.0.0.1:9/v1"}
    shown = cli("doctor", "--llm", "--json", folder=tmp_path, environment=environment)
    assert shown.returncode == 1
    (asked,) = [check for check in json.loads(shown.stdout)["checks"] if check["name"] == "llm"]
    assert "nothing listens at http://127.0.0.1:9/v1" in asked["found"]
    assert cli("doctor", folder=tmp_path, environment=environment).returncode == 0


async def test_doctor_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal each check is a line with a coloured mark; piped it is the same line without colour."""
    with terminal("doctor", folder=tmp_path) as shown:
        assert await shown.ends() == 0
        assert "● python" in shown.text
        assert shown.coloured
    piped = cli("doctor", folder=tmp_path).stdout
    assert "● python" in piped
    assert "\x1b" not in piped
