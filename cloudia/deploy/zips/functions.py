"""The functions as zips, one each: a change of one redeploys that one, and what one needs does not weigh on the others.

A zip holds the function's module and what it imports, found by following the imports: our own modules one by one, libraries
whole. boto3 is in Lambda's own Python, so it stays out. All is Python, so a zip runs on x86_64 and on arm64. What PyJWT needs
for keys of a JWKS has compiled parts: on AWS it comes as a layer, one for each architecture; an engine here runs what this
environment has.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudia
from cloudia.deploy.zips.archive import archive
from cloudia.deploy.zips.libraries import Libraries
from cloudia.deploy.zips.sources import Sources

if TYPE_CHECKING:
    from cloudia.stack import Stack

__all__ = ["ARCHITECTURES", "LAYER", "RUNTIME", "FunctionZip", "build_functions"]

RUNTIME = "python3.13"
ARCHITECTURES = ("x86_64", "arm64")
_VERSION = (3, 13)
LAYER = (
    "auth.jwks_url is set: the functions need a layer with cryptography. For x86_64 (or aarch64), zip what this makes: "
    "pip install cryptography --target layer/python --only-binary :all: --python-version 3.13 "
    "--platform manylinux2014_x86_64"
)
"""https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html"""
_IN_THE_RUNTIME = frozenset({"boto3", "botocore"})
"""https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html#python-sdk-included"""
_FOR_A_JWKS = frozenset({"cryptography", "_cffi_backend"})
"""The second is imported by what is compiled of the first."""


@dataclass(frozen=True, slots=True)
class FunctionZip:
    """One function, ready to be deployed."""

    name: str
    handler: str
    """As Lambda takes it: `cloudia.functions.{name}.handler`."""
    data: bytes
    files: int

    @property
    def sha256(self) -> str:
        """The digest of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def code_sha256(self) -> str:
        """The same in Base64: Lambda's `CodeSha256`, Terraform's `source_code_hash`."""
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()

    def to_json(self) -> dict[str, Any]:
        """Return what a deployment has to know."""
        return {
            "function": self.name,
            "handler": self.handler,
            "bytes": len(self.data),
            "files": self.files,
            "sha256": self.sha256,
            "code_sha256": self.code_sha256,
        }


def build_functions(stack: Stack, *, folder: Path | None = None, native_jwks: bool = False) -> list[FunctionZip]:
    """Return the zips of the stack's functions, by name. `folder` is the package `cloudia`, the one that runs unless given.

    The same sources and libraries make the same bytes, wherever and whenever; with `native_jwks` they hold what a JWKS needs,
    and run on this machine's Python alone. `CloudiaError` says what cannot be bundled.
    """
    sources = Sources(folder or Path(cloudia.__file__).parent, _VERSION)
    libraries = Libraries(_VERSION, native=native_jwks)
    also = _FOR_A_JWKS if native_jwks else frozenset[str]()
    zips = []
    for name in sorted(function.name for function in stack.functions):
        module = f"cloudia.functions.{name}"
        files, foreign = sources.follow(module)
        files |= libraries.files((foreign | also) - _IN_THE_RUNTIME)
        zips.append(FunctionZip(name, f"{module}.handler", archive(files), len(files)))
    return zips
