"""The Helm chart: what it renders is what Kubernetes takes, and runs what ships with settings that are known."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloudia import __version__
from cloudia.settings import SETTINGS, from_environment
from cloudia.stack import Stack
from tests.doc_scripts import doc_script

yaml = pytest.importorskip("yaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

_ROOT = Path(__file__).parents[2]
_CHART = _ROOT / "deploy" / "helm" / "cloudia"
_SETS = sorted((_CHART / "ci").glob("*-values.yaml"))
_VERSIONS = ("1.30", "1.37")
_OF_OTHERS = {"ScaledObject", "TriggerAuthentication", "ExternalSecret"}
"""Kinds that are defined by what is installed beside Kubernetes."""
_HELM = shutil.which("helm") or shutil.which("helm", path=str(Path.home() / "go" / "bin"))

pytestmark = pytest.mark.skipif(not _HELM, reason="no helm on this machine")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm away from its user's settings."""
    assert _HELM
    environment = {**os.environ, "KUBECONFIG": "/dev/null"}
    return subprocess.run([_HELM, *arguments], capture_output=True, text=True, check=False, env=environment)


def template(chart: Path, values: Path, *more: str, version: str = _VERSIONS[-1]) -> subprocess.CompletedProcess[str]:
    """Have Helm render a chart with a file of values, as for this version of Kubernetes."""
    return helm("template", "shop", str(chart), "--values", str(values), "--kube-version", version, *more)


def rendered(values: Path, *more: str, version: str = _VERSIONS[-1]) -> list[dict[str, Any]]:
    """Return what the chart makes of a file of values."""
    made = template(_CHART, values, *more, version=version)
    assert made.returncode == 0, made.stderr
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the document of a kind and a name."""
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def refused(*sets: str) -> str:
    """Return how Helm refuses the smallest values with some changed."""
    arguments = [argument for each in sets for argument in ("--set-json", each)]
    made = template(_CHART, _CHART / "ci" / "smallest-values.yaml", *arguments)
    assert made.returncode != 0
    return made.stderr


def test_the_schema_is_made_from_the_settings() -> None:
    """What stands in the chart is what `docs/make_chart_schema.py` makes today."""
    module = doc_script("make_chart_schema")
    assert module.SCHEMA.read_text(encoding="utf-8") == module.text()


def test_the_chart_is_of_this_version() -> None:
    """The image that is run where no tag is given is of the chart's cloudia."""
    assert yaml.safe_load((_CHART / "Chart.yaml").read_text())["appVersion"] == __version__


@pytest.mark.parametrize("values", _SETS, ids=lambda path: path.stem)
def test_lint(values: Path) -> None:
    """Helm itself has nothing to say against it."""
    checked = helm("lint", str(_CHART), "--strict", "--values", str(values), "--kube-version", _VERSIONS[-1])
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("version", _VERSIONS)
@pytest.mark.parametrize("values", _SETS, ids=lambda path: path.stem)
def test_kubernetes_knows_each_field(values: Path, version: str) -> None:
    """By the schemas of the oldest and of the newest Kubernetes that are named."""
    documents = rendered(values, version=version)
    assert {"Deployment", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget"} <= {
        document["kind"] for document in documents
    }
    for document in documents:
        if document["kind"] not in _OF_OTHERS:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", _SETS, ids=lambda path: path.stem)
def test_a_part_understands_its_environment(values: Path) -> None:
    """Each variable is a setting's or AWS's, none is a secret, and the values are ones that the settings take."""
    settings = one(rendered(values), "ConfigMap", "shop-cloudia")["data"]
    known = {variable: setting for setting in SETTINGS.values() for variable in setting.variables}
    assert all(not known[name].secret for name in settings)
    given = yaml.safe_load(values.read_text())
    read = from_environment(settings)
    assert read.stack_name == given["stack"].get("name", "cloudia")
    for table, keys in given.get("settings", {}).items():
        for key, value in keys.items():
            assert read.value(f"{table}_{key}") == value


@pytest.mark.parametrize("part", ["worker", "gateway"])
@pytest.mark.parametrize("values", _SETS, ids=lambda path: path.stem)
def test_a_pod_can_do_no_more_than_it_must(values: Path, part: str) -> None:
    """No root, no capability, no writable root file system, no token of the cluster; and its argument is a part that ships."""
    pod = one(rendered(values), "Deployment", f"shop-cloudia-{part}")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [f"cloudia.{part}"]
    assert importlib.util.find_spec(container["args"][0])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_worker_has_the_time_that_it_was_promised() -> None:
    """Kubernetes waits for longer than the worker takes: its grace, then 15 s to hand back and 2 s for its last events."""
    documents = rendered(_CHART / "ci" / "smallest-values.yaml", "--set", "worker.graceSeconds=200")
    pod = one(documents, "Deployment", "shop-cloudia-worker")["spec"]["template"]["spec"]
    grace = float(one(documents, "ConfigMap", "shop-cloudia")["data"]["CLOUDIA_WORKER_GRACE_SECONDS"])
    assert grace == 200
    assert pod["terminationGracePeriodSeconds"] >= grace + 15 + 2


def test_an_upgrade_leaves_the_number_of_workers_to_the_scaler() -> None:
    """With scaling the Deployment names no replicas, and the scaler asks for the queue that the worker polls, in flight too."""
    documents = rendered(_CHART / "ci" / "scaled-values.yaml")
    assert "replicas" not in one(documents, "Deployment", "shop-cloudia-worker")["spec"]
    (trigger,) = one(documents, "ScaledObject", "shop-cloudia-worker")["spec"]["triggers"]
    assert trigger["metadata"]["queueURL"] == Stack("shop").jobs_queue.name
    assert trigger["metadata"]["scaleOnInFlight"] == "true"


def test_a_change_of_settings_begins_new_pods() -> None:
    """A pod's annotation changes with them, and with nothing else."""

    def checksum(*more: str) -> str:
        documents = rendered(_CHART / "ci" / "smallest-values.yaml", *more)
        pod = one(documents, "Deployment", "shop-cloudia-worker")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/settings"])

    assert checksum() == checksum("--set", "gateway.replicas=5")
    assert checksum() != checksum("--set", "settings.worker.concurrency=5")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ('settings={"worker":{"concurency":5}}', "concurency"),
        ('settings={"worker":{"concurrency":0}}', "concurrency"),
        ('settings={"worker":{"concurrency":"many"}}', "concurrency"),
        ('settings={"openai":{"api_key":"sk-secret"}}', "api_key"),
        ('stack={"region":"eu-central-1","name":"a b"}', "name"),
        ('stack={"region":""}', "stack.region"),
        ('image={"repository":""}', "image.repository"),
        ('gateway={"ingress":{"enabled":true}}', "gateway.ingress.host"),
        ("replicas=3", "replicas"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_installed(change: str, names: str) -> None:
    """A setting that is not known, a value out of its bounds, a secret among the settings, what is missing: by its name."""
    assert names in refused(change)


def test_notes(tmp_path: Path) -> None:
    """They say where clients connect, and what is missing."""
    chart = tmp_path / "cloudia"
    shutil.copytree(_CHART, chart)
    # Without a cluster Helm renders them only as part of another template.
    (chart / "templates" / "notes.yaml").write_text(
        'notes: {{ include (print .Template.BasePath "/NOTES.txt") . | quote }}\n'
    )

    def notes(name: str) -> str:
        made = template(chart, chart / "ci" / f"{name}-values.yaml", "--show-only", "templates/notes.yaml")
        assert made.returncode == 0, made.stderr
        return str(yaml.safe_load(made.stdout)["notes"])

    assert "CLOUDIA_REDIS_URL" in notes("smallest")
    assert "wss://live.example.com" in notes("scaled")
    assert "CLOUDIA_REDIS_URL" not in notes("scaled")
