"""Terraform itself, where this machine has it: it runs in a folder of the test's own, and downloads nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "deploy/terraform"
EXAMPLE = ROOT / "examples/deploy"
PROVIDER = "registry.terraform.io/hashicorp/aws"
MIRROR = "CLOUDIA_TERRAFORM_MIRROR"
"""The variable that names a folder with the provider in it."""
_NEVER = 600.0
_IMPLIED = ("~/.terraform.d/plugins", "~/.local/share/terraform/plugins", "/usr/local/share/terraform/plugins")
"""https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories"""


def missing() -> str:
    """Return why Terraform cannot be tried here, empty where it can."""
    if not shutil.which("terraform"):
        return "there is no terraform on the PATH"
    if not _mirror():
        return f"the AWS provider is in no folder where Terraform looks; {MIRROR} may name one"
    return ""


def _mirror() -> Path | None:
    named = [os.environ[MIRROR]] if MIRROR in os.environ else []
    folders = (Path(each).expanduser() for each in (*named, *_IMPLIED))
    return next((each for each in folders if (each / PROVIDER).is_dir()), None)


@dataclass
class Terraform:
    """Terraform in one folder."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    """More of its environment."""

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command that must end with one of these codes. Return what it said on stdout."""
        configuration = self.folder / "terraform.rc"
        configuration.write_text(
            f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{_mirror()}"\n  }}\n}}\n'
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_", "CLOUDIA_"))}
        environment = {**kept, "TF_CLI_CONFIG_FILE": str(configuration), "TF_IN_AUTOMATION": "1", **self.variables}
        done = subprocess.run(
            ["nice", "terraform", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_NEVER,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode in codes, f"terraform {arguments[0]}: {done.stderr or done.stdout[-4000:]}"
        return done.stdout

    def init(self) -> None:
        """Get ready what the folder needs, without a backend."""
        self.run("init", "-backend=false", "-input=false", "-no-color")

    def plan(self, *arguments: str) -> dict[str, Any]:
        """Return a plan as JSON: https://developer.hashicorp.com/terraform/internals/json-format."""
        self.run("plan", "-input=false", "-no-color", "-out=planned", *arguments)
        planned: dict[str, Any] = json.loads(self.run("show", "-json", "planned"))
        return planned


def copied(folder: Path) -> Path:
    """Copy module and example into a folder, as they lie to each other. Return the module's."""
    for source in (MODULE, EXAMPLE):
        ours = shutil.ignore_patterns(".terraform*", "*.tfstate*")
        shutil.copytree(source, folder / source.relative_to(ROOT), ignore=ours)
    return folder / MODULE.relative_to(ROOT)
