"""The local collector: takes OTLP over HTTP from programs of this machine, keeps spans for a while, and forwards all of it.

It runs as a child process, `python -m cloudia.sim.collector --port PORT --store FILE`. Whoever bears its token sends to
`/v1/traces`, `/v1/metrics` and `/v1/logs`, and reads `/traces/{trace_id}`. https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""
