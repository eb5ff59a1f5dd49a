"""The Terraform module: it holds by itself, and what it makes on a real engine is the stack, no more and no less.

One apply is shared, and the last test destroys it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx2
import psutil
import pytest

from cloudia.cloud.identity import issue_token
from cloudia.deploy.http_api import http_api_url
from cloudia.deploy.zips.functions import build_functions
from cloudia.sim.engines.ministack import environment
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.stack import Stack
from tests.deploy.terraforming import EXAMPLE, MODULE, ROOT, Terraform, copied, missing
from tests.patience import HANGS
from tests.support import CLI, cli, eventually

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "it is here")

NAME = "deployed"
SECRETS = {"token-secret": "token-SECRET-of-32-bytes-or-more!", "session-secret": "session-SECRET-of-32-bytes-or-more"}
KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}

GAPS = {
    # MiniStack tells of an alarm no period, statistic, dimensions, actions and words.
    "aws_cloudwatch_metric_alarm": {
        "actions_enabled",
        "alarm_actions",
        "alarm_description",
        "dimensions",
        "ok_actions",
        "period",
        "statistic",
        "treat_missing_data",
    },
    # Nor whether a service is balanced between zones,
    "aws_ecs_service": {"availability_zone_rebalancing"},
    # nor the words of a rule for every protocol.
    "aws_vpc_security_group_egress_rule": {"description"},
}
"""What the engine forgets, by type of resource. Nothing else may be found changed after an apply."""


@dataclass
class Engine:
    """A MiniStack of the tests' own, which no guard keeps: a plain AWS on loopback."""

    url: str
    process: psutil.Process

    @property
    def variables(self) -> dict[str, str]:
        """What leads Terraform, boto3 and cloudia there."""
        return {**KEY, "AWS_ENDPOINT_URL": self.url}

    def client(self, service: str) -> Any:
        """Return a client of boto3's."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def holds(self) -> set[str]:
        """Return what there is, each by kind and name."""
        pages: list[tuple[str, str, dict[str, Any], str, str]] = [
            ("sqs", "list_queues", {}, "QueueUrls", ""),
            ("dynamodb", "list_tables", {}, "TableNames", ""),
            ("ssm", "describe_parameters", {}, "Parameters", "Name"),
            ("lambda", "list_functions", {}, "Functions", "FunctionName"),
            ("apigatewayv2", "get_apis", {}, "Items", "Name"),
            ("logs", "describe_log_groups", {}, "logGroups", "logGroupName"),
            ("iam", "list_roles", {}, "Roles", "RoleName"),
            ("ecs", "list_clusters", {}, "clusterArns", ""),
            ("elbv2", "describe_load_balancers", {}, "LoadBalancers", "LoadBalancerName"),
            ("elbv2", "describe_target_groups", {}, "TargetGroups", "TargetGroupName"),
            ("elasticache", "describe_replication_groups", {}, "ReplicationGroups", "ReplicationGroupId"),
            ("cloudwatch", "describe_alarms", {}, "MetricAlarms", "AlarmName"),
            ("sns", "list_topics", {}, "Topics", "TopicArn"),
            ("ec2", "describe_vpcs", {}, "Vpcs", "VpcId"),
            ("ec2", "describe_security_groups", {}, "SecurityGroups", "GroupId"),
            ("budgets", "describe_budgets", {"AccountId": "000000000000"}, "Budgets", "BudgetName"),
        ]
        found = set()
        for service, operation, arguments, key, name in pages:
            listed = getattr(self.client(service), operation)(**arguments).get(key, [])
            found |= {f"{service} {each[name] if name else each}" for each in listed}
        return found


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """The module, ready to be checked."""
    terraform = Terraform(copied(tmp_path_factory.mktemp("terraform")))
    terraform.init()
    return terraform


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions' zips."""
    folder = tmp_path_factory.mktemp("zips")
    for each in build_functions(Stack()):
        (folder / f"{each.name}.zip").write_bytes(each.data)
    return folder


# --- without an account --------------------------------------------------------------------------------------------------


def test_it_is_written_as_terraform_writes(module: Terraform) -> None:
    """Module, tests and example are formatted."""
    module.run("fmt", "-check", "-recursive", str(MODULE))
    module.run("fmt", "-check", "-recursive", str(EXAMPLE))


def test_it_is_valid(module: Terraform) -> None:
    """Module and example name what there is."""
    module.run("validate", "-no-color")
    example = Terraform(module.folder.parents[1] / "examples/deploy")
    example.init()
    example.run("validate", "-no-color")


def test_its_choices_are_what_they_say(module: Terraform, zips: Path) -> None:
    """Terraform's own tests: each topology, and each input that is refused."""
    said = module.run("test", "-no-color", f"-var=functions_dir={zips}")
    assert re.search(r"Success! \d+ passed, 0 failed", said), said


def test_what_checkov_asks_for_is_done_or_explained(module: Terraform) -> None:
    """Each check that fails is an exception with a reason, and each exception is of a check that fails."""
    checkov = shutil.which("checkov", path=ROOT / ".venv-checkov/bin") or shutil.which("checkov")
    if not checkov:
        pytest.skip("there is no checkov: make .venv-checkov/.installed")
    exceptions = dict(re.findall(r"- (CKV\w+) # (.+)", (MODULE / ".checkov.yaml").read_text()))
    folder = module.folder.parent / "checked"
    shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns(".*"))
    command = [checkov, "--directory", str(folder), "--framework", "terraform", "--output", "json", "--skip-download"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    found = {each["check_id"] for each in json.loads(done.stdout)["results"]["failed_checks"]}
    assert found == set(exceptions)


# --- on an engine --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A MiniStack with Lambda, of which nothing is left. Beside other tests its answers to Terraform get lost."""
    if "CLOUDIA_DEPLOY_TEST" not in os.environ:
        pytest.skip("`make deploy-test` runs it, alone")
    port = choose_port()
    variables = {
        **environment(port, temporary=tmp_path_factory.mktemp("engine"), data=None),
        "LAMBDA_EXECUTOR": "local",
    }
    with subprocess.Popen([CLI[0], "-P", "-m", "ministack"], env=variables, stderr=subprocess.DEVNULL) as started:
        engine = Engine(f"http://{LOOPBACK}:{port}", psutil.Process(started.pid))
        try:
            yield engine
        finally:
            left = engine.process.children(recursive=True)
            started.terminate()
            started.wait(HANGS)
            _, alive = psutil.wait_procs(left, HANGS)
            assert not alive


async def _up(engine: Engine) -> None:
    async def ready() -> bool:
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{engine.url}/_ministack/ready")).status_code == 200
        except httpx2.HTTPError:
            return False

    await eventually(ready)


@pytest.fixture(scope="module")
def root(module: Terraform, engine: Engine, zips: Path) -> Terraform:
    """A root that has the module make a stack on the engine, and may adopt one, as the example does."""
    folder = module.folder.parent / "root"
    folder.mkdir()
    shutil.copy(EXAMPLE / "adopt.tf", folder)
    (folder / "main.tf").write_text(f"""
        provider "aws" {{
          skip_credentials_validation = true
          skip_metadata_api_check     = true
        }}
        variable "name" {{ default = "{NAME}" }}
        variable "adopt" {{ default = false }}
        variable "secrets" {{
          type      = map(string)
          default   = {{}}
          ephemeral = true
        }}
        variable "secret_versions" {{
          type    = map(number)
          default = {{ token-secret = 1, session-secret = 1 }}
        }}
        module "cloudia" {{
          source              = "../terraform"
          name                = var.name
          functions_dir       = "{zips}"
          image               = "example.test/cloudia:1"
          certificate_arn     = "arn:aws:acm:us-east-1:000000000000:certificate/1"
          secrets             = var.secrets
          secret_versions     = var.secret_versions
          settings            = {{ "aws.endpoint_url" = "{engine.url}" }}
          web_origins         = ["https://chat.example.test"]
          alarm_email         = "ops@example.test"
          budget_dollars      = 50
          deletion_protection = false
        }}
        output "api_url" {{ value = module.cloudia.api_url }}
    """)
    root = Terraform(folder, {**engine.variables, "TF_VAR_secrets": json.dumps(SECRETS)})
    root.init()
    return root


@pytest.fixture(scope="module")
def before(engine: Engine) -> set[str]:
    """What the engine held before the apply."""
    return engine.holds()


def _holding(stack: Stack) -> set[str]:
    """Return the names of what holds data."""
    return {*(queue.name for queue in stack.queues), *(table.name for table in stack.tables)}


def _changed(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in plan["resource_changes"] if each["change"]["actions"] not in (["no-op"], ["read"])]


async def test_it_is_made(engine: Engine, root: Terraform, request: pytest.FixtureRequest) -> None:
    """An apply ends well, and makes all that the stack defines under its names."""
    await _up(engine)
    before = request.getfixturevalue("before")
    root.run("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=5")
    stack = Stack(NAME)
    made = {
        each.rsplit("/", 1)[-1] if each.startswith("sqs") else each.partition(" ")[2]
        for each in engine.holds() - before
    }
    names = {*(queue.name for queue in stack.queues), *(table.name for table in stack.tables), *stack.log_groups}
    names |= {stack.function_name(function.name) for function in stack.functions}
    names |= {stack.token_secret.name, stack.session_secret.name}
    assert names <= made


def test_nothing_has_drifted(root: Terraform) -> None:
    """A plan after it finds nothing to change but what the engine is known to forget."""
    for each in _changed(root.plan()):
        change = each["change"]
        assert change["actions"] == ["update"], each["address"]
        drift = {key for key in change["after"] if change["before"].get(key) != change["after"][key]}
        assert drift <= GAPS.get(each["type"], set()), each["address"]


def test_no_secret_is_written_down(root: Terraform, engine: Engine) -> None:
    """State and plan hold no value; Parameter Store does."""
    state = (root.folder / "terraform.tfstate").read_text()
    plan = root.run("show", "-json", "planned")
    for name, value in SECRETS.items():
        assert value not in state
        assert value not in plan
        found = engine.client("ssm").get_parameter(Name=f"/{NAME}/{name}", WithDecryption=True)["Parameter"]
        assert (found["Value"], found["Type"]) == (value, "SecureString")


def test_provisioning_finds_nothing_to_do(engine: Engine, tmp_path: Path) -> None:
    """`cloudia provision` has the same definition: all is as it would make it."""
    variables = {**engine.variables, "CLOUDIA_STACK_NAME": NAME}
    done = cli("provision", "--json", folder=tmp_path, environment=variables)
    assert done.returncode == 0, done.stderr
    found = {each["name"]: (each["action"], each["drift"]) for each in json.loads(done.stdout)["resources"]}
    stack = Stack(NAME)
    assert set(found) >= _holding(stack)
    assert set(map(str, found.values())) == {str(("unchanged", []))}


def test_the_deployed_api_takes_a_message(engine: Engine, root: Terraform) -> None:
    """A message that is posted to the HTTP API is accepted by the function from its zip, recorded, and in the queue."""
    (api,) = engine.client("apigatewayv2").get_apis()["Items"]
    token = issue_token(SECRETS["token-secret"], "alice")
    with httpx2.Client(base_url=http_api_url(engine.url, api["ApiId"]), timeout=HANGS, trust_env=False) as http:
        assert http.post("/messages", json={"content": "hello"}).status_code == 401
        http.headers["authorization"] = f"Bearer {token}"
        posted = http.post("/messages", json={"content": "hello"})
        assert posted.status_code == 202, posted.text
        job = http.get(f"/jobs/{posted.json()['job_id']}").json()
        assert job["status"] == "queued"
    sqs = engine.client("sqs")
    url = sqs.get_queue_url(QueueName=Stack(NAME).jobs_queue.name)["QueueUrl"]
    count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert count == {"ApproximateNumberOfMessages": "1"}


def test_what_was_provisioned_is_adopted(engine: Engine, root: Terraform, tmp_path: Path) -> None:
    """A stack that `cloudia provision` made is imported: nothing of it is deleted or made again, its secrets stay."""
    variables = {**engine.variables, "CLOUDIA_STACK_NAME": "adopted", "CLOUDIA_OPENAI_API_KEY": "sk-SECRET-of-somebody"}
    done = cli("provision", "--json", folder=tmp_path, environment=variables)
    assert done.returncode == 0, done.stderr
    stack = Stack("adopted")
    other = Terraform(root.folder, {**root.variables, "TF_VAR_secrets": "{}"})
    arguments = ("-state=adopted.tfstate", "-var=name=adopted", "-var=adopt=true", "-var=secret_versions={}")
    plan = other.plan(*arguments)
    imported = {each["change"]["after"]["name"] for each in plan["resource_changes"] if "importing" in each["change"]}
    assert imported == _holding(stack)
    assert not [each["address"] for each in plan["resource_changes"] if "delete" in each["change"]["actions"]]
    assert not [each["address"] for each in plan["resource_changes"] if each["type"] == "aws_ssm_parameter"]
    assert "SECRET" not in json.dumps(plan)


def test_nothing_is_left_of_it(engine: Engine, root: Terraform, before: set[str]) -> None:
    """Destroyed, all that the apply made is gone, and what was provisioned beside it is still there."""
    root.run("destroy", "-auto-approve", "-input=false", "-no-color")
    left = engine.holds() - before
    assert not {each for each in left if "adopted" not in each}
    assert {f"dynamodb {table.name}" for table in Stack("adopted").tables} <= left
