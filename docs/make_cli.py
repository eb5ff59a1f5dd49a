"""Make docs/cli.md from the command line itself.

python docs/make_cli.py           writes it
python docs/make_cli.py --check   exits 1 where it is not current
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from cloudia.cli.main import app, verbs
from cloudia.settings import SETTINGS, dotted, resolve

PAGE = Path(__file__).parent / "cli.md"

EXIT_CODES = {
    0: "ok",
    1: "failed: the job, a part of the stack, a service, or the disk",
    2: "usage: the command line, the configuration, or what was sent is wrong, or names what is not there",
    3: "no stack is running here",
    4: "not allowed: the token is missing, wrong or expired",
    5: "timed out",
    6: "dead-lettered: every attempt at the job failed",
    7: "the LLM is unavailable, and the breaker said so at once",
    130: "interrupted by Ctrl-C",
}
_ALWAYS = (0, 1, 2, 130)
_TALKS = (3, 4, 5)

MORE_CODES: dict[str, tuple[int, ...]] = {
    "status": (3, 5),
    "logs": (3,),
    "restart": (3, 5),
    "send": (3, 4, 5, 6, 7),
    "chat": _TALKS,
    "top": (3,),
    "conversations": _TALKS,
    "chaos": (3,),
    "llm replay": (3,),
    "dlq": _TALKS,
    "dlq redrive": (3, 4, 5, 6),
    "queue": (3,),
    "reconcile": (3,),
    "trace": (3,),
    "why": (3,),
    "cost": (3,),
}
"""Beyond 0, 1, 2 and 130, by verb or by the group it is in."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("cloudia init demo",),
    "up": (
        "cloudia up",
        "cloudia up --detach --json",
        "cloudia up --llm ollama",
        "cloudia up --llm http://127.0.0.1:9000/v1 --model my-model",
    ),
    "down": ("cloudia down",),
    "status": ("cloudia status", "cloudia status --wait-for ready --timeout 30"),
    "logs": ("cloudia logs worker --follow", "cloudia logs --json"),
    "restart": ("cloudia restart worker",),
    "send": (
        "cloudia send hello",
        "echo hello | cloudia send --json",
        "cloudia send --file question.txt",
        "cloudia send --jsonl messages.jsonl --concurrency 8 > answers.jsonl",
    ),
    "chat": ("cloudia chat",),
    "top": ("cloudia top",),
    "conversations list": ("cloudia conversations list --limit 10",),
    "conversations show": ("cloudia conversations show cnv_01m830xx599kj9j5m5aaym0v9x",),
    "queue stats": ("cloudia queue stats --watch",),
    "queue peek": ("cloudia queue peek",),
    "queue purge": ("cloudia queue purge --yes",),
    "reconcile": ("cloudia reconcile --json",),
    "trace": (
        "cloudia trace --last",
        "cloudia trace --conversation CONVERSATION --follow",
        "cloudia trace list --failed --since 1h",
        "cloudia trace list --slow 5s --json",
        "cloudia trace --last --json > trace.json",
    ),
    "why": ("cloudia why JOB",),
    "cost": ("cloudia cost", "cloudia cost --since 7d --by user --json"),
    "cost estimate": ("cloudia cost estimate --messages-per-month 100000",),
    "dlq list": ("cloudia dlq list", "cloudia dlq list --older-than 1h --json"),
    "dlq show": ("cloudia dlq show LETTER",),
    "dlq redrive": ("cloudia dlq redrive LETTER --edit --wait", "cloudia dlq redrive --all --rate 5"),
    "dlq export": ("cloudia dlq export letters.jsonl",),
    "dlq import": ("cloudia dlq import letters.jsonl",),
    "dlq purge": ("cloudia dlq purge LETTER --yes",),
    "build functions": ("cloudia build functions --output dist/functions",),
    "build terraform": ("cloudia build terraform --output deploy/terraform/stack.json",),
    "chaos llm": (
        "cloudia chaos llm 500 --rate 0.3 --for 1m",
        "cloudia chaos llm 429 --count 2 --retry-after 3",
        "cloudia chaos llm case --list",
        "cloudia chaos llm case openai-429-quota --count 2",
    ),
    "chaos redis": ("cloudia chaos redis pause --for 10s",),
    "chaos engine": ("cloudia chaos engine pause --for 5s",),
    "chaos gateway": ("cloudia chaos gateway kill",),
    "chaos worker": ("cloudia chaos worker kill",),
    "chaos list": ("cloudia chaos list",),
    "chaos off": ("cloudia chaos off",),
    "llm record": (
        "cloudia llm record slow-start.json https://api.openai.com/v1",
        "cloudia llm record local.json http://127.0.0.1:11434/v1 --text",
    ),
    "llm replay": ("cloudia llm replay slow-start.json",),
    "drill": (
        "cloudia drill --jobs 200",
        "cloudia drill --only order,orphans,skew",
        "cloudia drill --only stopped,refused,clock",
        "cloudia drill --responder my_bot:answer",
    ),
    "worker": ("cloudia worker",),
    "gateway": ("cloudia gateway",),
    "provision": ("cloudia provision --json",),
    "env": ("cloudia env", "cloudia env --json"),
    "token": ("cloudia token --user alice --ttl 600",),
    "config": ("cloudia config --json",),
    "doctor": ("cloudia doctor", "cloudia doctor --llm"),
}

_UP_TABLES = ("up", "llm", "api", "aws", "worker")
"""A flag of `up` is the setting of its name in the first of these that has it."""
_FLAGS = {"user": "auth_user", "url": "api_url", "websocket_url": "websocket_url", "token": "auth_token"}
"""Flags of other verbs that are a setting."""

_KINDS = {"str": "text", "int": "whole number", "float": "number"}
_ROWS = {row["name"]: row for row in resolve().rows()}


def page() -> str:
    """Return the page."""
    parts = [_HEAD, _exit_codes(), _global_options(), _index()]
    parts += [_verb(name, command) for name, command in verbs().items()]
    parts.append(_settings())
    return "\n\n".join(parts) + "\n"


_HEAD = """\
<!-- Made by docs/make_cli.py from the code; do not edit. -->

# The command line

- Data goes to stdout, everything else to stderr.
- `--json` is on every verb that prints data: one JSON document, on one line where a program reads it. Where a verb prints many
  (`logs`, `send --jsonl`), it is one object a line. Under `--json` an error is one object on stderr:
  `{"error": {"code", "message", "hint"}}`.
- An error is one sentence and a `hint:`. A traceback is printed with `--debug` only.
- Nothing is asked without a terminal; what destroys takes `--yes`.
- A value comes from the flag, else the environment, else `.env`, else `cloudia.toml`, else its default; `cloudia config` shows
  each and where it came from.
- `NO_COLOR` is honoured. `cloudia --install-completion` has the shell that it runs in (bash, zsh, fish) complete verbs,
  options, parts and conversations; `cloudia --show-completion` prints what it would install."""


def _exit_codes() -> str:
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    return f"""\
## Exit codes

| code | means |
|---|---|
{rows}

`send --jsonl` ends with the worst of its messages' codes, from mild to bad: 0, 7, 5, 1, 6, 2, 4. Interrupted it is 130."""


def _global_options() -> str:
    root = get_command(app)
    return f"## Before the verb\n\n{_options('', root)}"


def _index() -> str:
    rows = "\n".join(f"| [`{name}`](#{_anchor(name)}) | {_first_line(command)} |" for name, command in verbs().items())
    return f"## Verbs\n\n| verb | does |\n|---|---|\n{rows}"


def _verb(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join(["cloudia", name, *(_usage(each) for each in arguments), "[options]"])
    parts = [f"## cloudia {name}", inspect.cleandoc(command.help or ""), f"```\n{usage}\n```"]
    if arguments:
        rows = "\n".join(f"| `{_metavar(each)}` | {_default(each)} | {_text(each.help)} |" for each in arguments)
        parts.append(f"| argument | default | is |\n|---|---|---|\n{rows}")
    options = _options(name, command)
    if options:
        parts.append(options)
    if name in EXAMPLES:
        parts.append("```bash\n" + "\n".join(EXAMPLES[name]) + "\n```")
    more = MORE_CODES.get(name, MORE_CODES.get(name.split(maxsplit=1)[0], ()))
    codes = ", ".join(str(code) for code in sorted({*_ALWAYS, *more}))
    parts.append(f"Exit codes: {codes}.")
    return "\n\n".join(parts)


def _options(verb: str, command: Any) -> str:
    rows = []
    for each in command.params:
        if each.param_type_name != "option" or each.hidden or "--help" in each.opts:
            continue
        names = ", ".join(f"`{option}`" for option in [*each.opts, *each.secondary_opts])
        kind = "" if each.is_flag else _kind(each)
        row = _setting(verb, each.name)
        rows.append(
            f"| {names}{kind} | {_default(each) or _code(row.get('value'))} | {_code(row.get('env'))} | {_text(each.help)} |"
        )
    return "| option | default | environment | does |\n|---|---|---|---|\n" + "\n".join(rows) if rows else ""


def _setting(verb: str, option: str) -> dict[str, Any]:
    """Return the row of the setting that an option is, nothing where it is none."""
    named = [f"{table}_{option}" for table in _UP_TABLES] if verb == "up" else [_FLAGS.get(option, "")]
    setting = next((name for name in named if name in SETTINGS), None)
    return _ROWS[dotted(setting)] if setting else {}


def _kind(parameter: Any) -> str:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return " " + r"\|".join(f"`{getattr(choice, 'value', choice)}`" for choice in choices)
    name = _KINDS.get(parameter.type.name.split()[0], parameter.type.name)
    low, high = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    if low is not None and high is not None:
        return f" {name} from {low:g} to {high:g}"
    return f" {name}" + (f" from {low:g}" if low is not None else "")


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or callable(value) or (isinstance(value, bool) and not parameter.secondary_opts):
        return ""
    if isinstance(value, bool):
        return f"`{(parameter.opts if value else parameter.secondary_opts)[0]}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{getattr(value, 'value', value)}`"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _usage(argument: Any) -> str:
    shown = _metavar(argument) + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def _settings() -> str:
    rows = "\n".join(
        f"| `{row['name']}` | `{row['env']}`{_also(name)} | {_code(row['value'])} | {_text(row['doc'])} |"
        for name, row in ((name, _ROWS[dotted(name)]) for name in SETTINGS)
    )
    return f"""\
## Settings

`worker.concurrency` is the key `concurrency` in the table `[worker]` of `cloudia.toml`.

| setting | environment | default | is |
|---|---|---|---|
{rows}"""


def _also(name: str) -> str:
    return "".join(f", `{variable}`" for variable in SETTINGS[name].env)


def _code(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return f"`{shown}`".replace("\n", " ") if shown else ""


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")


def _first_line(command: Any) -> str:
    return _text(inspect.cleandoc(command.help or "").split("\n\n")[0])


def _anchor(name: str) -> str:
    return f"cloudia-{name}".replace(" ", "-")


def main() -> int:
    """Write the page, or check it."""
    made = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text() == made else 1
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
