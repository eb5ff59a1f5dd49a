# The worker and the gateway: one image, and the argument picks which.
#
#   docker build --tag cloudia .
#   docker run --rm --env-file stack.env cloudia cloudia.worker
#
# It runs as a user without a name, on a read-only root file system with a /tmp, needs no shell, and ends by SIGTERM.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY constraints.txt cloudia/worker/requirements.txt ./
RUN python3 -m venv /opt/cloudia \
 && /opt/cloudia/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt \
      --requirement requirements.txt opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY cloudia ./cloudia
RUN /opt/cloudia/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --no-deps .

FROM ${BASE}
COPY --from=build /opt/cloudia /opt/cloudia
ENV PATH=/opt/cloudia/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CLOUDIA_WORKER_PROBE_HOST=0.0.0.0 \
    CLOUDIA_WORKER_PROBE_PORT=8080 \
    CLOUDIA_GATEWAY_HOST=0.0.0.0 \
    CLOUDIA_GATEWAY_PORT=8765
EXPOSE 8080 8765
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/opt/cloudia/bin/python", "-m"]
CMD ["cloudia.worker"]
