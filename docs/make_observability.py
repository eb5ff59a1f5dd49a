"""Make docs/observability.md: its tables of spans, metrics and log lines are those of `cloudia/telemetry/conventions.py`.

python docs/make_observability.py           writes it
python docs/make_observability.py --check   exits 1 where it is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloudia.settings import SETTINGS
from cloudia.telemetry.conventions import LINES, METRICS, SPANS

PAGE = Path(__file__).parent / "observability.md"

_PAGE = """# See it

What a message's time went to, why it failed: seven ways, from the nearest to the farthest. Made by `docs/make_observability.py`.

| | needs | shows |
|---|---|---|
| `cloudia trace`, `cloudia why`, `cloudia logs --job` | nothing | one message as a waterfall from its job's record, on any target; the reason in a sentence; its log lines over all parts |
| `/dashboard` beside the web page | nothing | live numbers and plots, parts, each message with its waterfall, prompt and answer, dead letters to edit and redrive |
| `/operator/…` | a token of `cloudia token --operator` | the same over HTTP, with dead letters to redrive and conversations to read: [`openapi.json`](../cloudia/functions/openapi.json) |
| `cloudia top`, `cloudia status` | nothing | queue, throughput, latencies, breakers, who is alive |
| spans, metrics and logs by OTLP | `pip install 'cloudia-chat[otel]'` and a variable | the same and more in Jaeger, Grafana, New Relic, any backend that takes OTLP over HTTP |
| `/metrics` for Prometheus | `pip install 'cloudia-chat[prometheus]'` and a setting | the same metrics, read from worker and gateway |
| `telemetry.listener` | a function of yours | every event of [`telemetry/events.py`](../cloudia/telemetry/events.py), in the process |

## The operator API

`/operator/live`, `jobs`, `jobs/{{id}}`, `costs`, `dead-letters`, `conversations` are for whoever runs the stack: a token with the claim
`role: operator`, as `cloudia token --operator` makes it, or an issuer of yours (`auth.jwks_url`). A user's token is a 403 there. Locally they are
there; on AWS once `operator.api` is set (`CLOUDIA_OPERATOR_API=true`), with a function and grants of their own.

What was said (prompts, answers, titles, the text of dead letters) is told on a laptop. On AWS it is `null`, unless the function's environment has
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` at `true`, `span_only`, `event_only` or `span_and_event`: who lets telemetry have the text lets
operators read it. Redriving and purging work without it.

```console
$ curl -H "Authorization: Bearer $(cloudia token --operator)" "$CLOUDIA_API_URL/operator/live"
```

The dashboard asks these routes alone. The local stack gives it an operator's token where the page was opened by its whole address; elsewhere
someone signs in with one. It asks every 2 s, and not while nobody looks at it.

## OTLP

Functions, worker and gateway send where OpenTelemetry's own variables say, once one of them names an endpoint:

```console
$ OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cloudia up
```

`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED` and the others of
[the list](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) are obeyed. Nothing is imported where no
endpoint is named. Log lines are sent as well where `OTEL_LOGS_EXPORTER=otlp`; `OTEL_TRACES_EXPORTER=none` or `OTEL_METRICS_EXPORTER=none`
leaves one out. A backend that is away, slow or full costs spans, never an answer: what finds no room is dropped, counted, and told in the
log (`spans were lost`, `the listener missed events`). No text of a message is in a span, a metric or a log line.

The functions' zips lack OpenTelemetry, which has compiled parts. In Lambda it comes as a layer, made for x86_64 (or aarch64) by zipping what
this makes; the function's environment then names the endpoint:

```console
$ pip install opentelemetry-exporter-otlp-proto-http opentelemetry-sdk --target layer/python --only-binary :all: \
    --python-version 3.13 --platform manylinux2014_x86_64
```

Without the layer a function accepts messages and says in its log what it lacks. Lambda freezes a process between two requests, so what one told is
sent during the next; no request waits for it, and what a process had left when Lambda ended it is lost.

### The local collector

Where OpenTelemetry's packages are installed (the extra `local` brings them), `cloudia up` runs a collector and its parts send to that;
`up --otel off` leaves it out. `cloudia trace` then draws the spans beside the record, and so it does with yours: `eval "$(cloudia env)"` sets
`OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_EXPORTER_OTLP_HEADERS` for any program of this machine, the workers have them anyway. A responder's
spans join the message's trace by its `turn.traceparent`:

```python
from opentelemetry import propagate


async def answer(turn):
    with tracer.start_as_current_span("look it up", propagate.extract({{"traceparent": turn.traceparent or ""}})):
        ...
```

Spans are kept for three days and within 64 MB (`collector.seconds`, `collector.bytes`), across restarts. Metrics and logs are not kept. All of
it goes on to the backend that the shell's variables name, if any.

New Relic:

```sh
OTEL_EXPORTER_OTLP_ENDPOINT=https://otlp.nr-data.net    # EU: https://otlp.eu01.nr-data.net
OTEL_EXPORTER_OTLP_HEADERS=api-key=YOUR_LICENSE_KEY
OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta
OTEL_EXPORTER_OTLP_COMPRESSION=gzip
OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=4095
```

## Prometheus

With `telemetry.prometheus = true` worker and gateway serve `/metrics` at `worker.probe_host:worker.probe_port` and
`gateway.probe_host:gateway.probe_port`, beside `/live` and `/ready`. A port of 0, the default, is none. The gateway's is apart from the port
of its clients, as no client is to see it. On loopback it is asked by loopback's names; where it listens elsewhere whoever reaches the port may
read it, so leave it inside. A name is that of the table with `_` for `.`, its unit behind it, and `_total` for a counter:
`cloudia_jobs_ended_total`, `cloudia_queue_wait_seconds_bucket`. Functions have no such port: what they count goes by OTLP.

`deploy/grafana/dashboard.json` is a dashboard for Grafana (import it, choose the Prometheus data source), `deploy/grafana/alerts.json` the alerts, a file
for Prometheus' `rule_files`. Both are held to the table below by a test.

## Sampling

`OTEL_TRACES_SAMPLER` decides once, when a message is accepted, and the message's `traceparent` carries it: `parentbased_traceidratio` with
`OTEL_TRACES_SAMPLER_ARG=0.05` keeps one in twenty. Where functions send nothing themselves, they pass on what the caller's `traceparent` says,
and sample what has none; let the worker decide by `traceidratio` then, which goes by the trace's id alone.

A message that failed or was slow is kept all the same. Each process decides when its part is over, so no collector has to:

| part | keeps, though not sampled |
|---|---|
| worker | an attempt that failed or was lost, each one after it, and the last where its job failed or took longer than `telemetry.slow_seconds` ({slow} s) from acceptance to end: all spans of that attempt |
| gateway | `deliver`, where the last frame is an error, or of a later attempt than the first, or that late |
| function | its own spans, where it took that long itself; else it knows nothing yet. So a kept trace may begin with `queue`, and its parent is not there |

What happens in an attempt is held until then, at most {held} events of it, of at most 4,000 attempts; metrics count every message.

## Spans

One message is one trace. A caller's `traceparent` is its parent.

| span | kind | is | attributes |
|---|---|---|---|
{spans}

The first text is an event of the attempt's span, whose id is made of job and fence, so that log lines name it. A client that comes only after
an attempt began has no `deliver`.

## Metrics

| metric | unit | counts | attributes |
|---|---|---|---|
{metrics}

Attributes are names of models, providers, codes and states, never an id. What the queue holds is asked by each worker every 15 s, so take the
highest of them, not their sum; a gauge that nobody has told of for a minute is left out. Names follow the semantic conventions v1.44, and for
generative AI what `opentelemetry-util-genai` 1.3b0 emits; all stand in `telemetry/conventions.py`.

## Log lines

One JSON object a line: `time`, `level`, `part`, `event`, then the event's own fields; `job_id`, `conversation_id`, `attempt`, `trace_id`
and `span_id` where they are known. A line of a library has its own text as `event`, and `logger`. By OTLP the event is body and event name, and trace and
span are the record's own.

| event | says |
|---|---|
{lines}
"""  # noqa: E501 - a table's row is one line


def page() -> str:
    """Return the page."""
    spans = [f"| `{name}` | {row.kind} | {row.doc} | {_names(row.attributes)} |" for name, row in SPANS.items()]
    metrics = [
        f"| `{name}` ({row.kind}) | `{row.unit}` | {row.doc} | {_names(row.attributes)} |"
        for name, row in METRICS.items()
    ]
    lines = [f"| `{name}` | {doc} |" for name, doc in LINES.items()]
    return _PAGE.format(
        slow=f"{SETTINGS['telemetry_slow_seconds'].default:g}",
        held=200,
        spans="\n".join(spans),
        metrics="\n".join(metrics),
        lines="\n".join(lines),
    )


def _names(attributes: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in attributes)


def main() -> int:
    """Write the page, or check it."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
