"""The third-party distributions that a zip must bring: those that are imported, with what they in turn need."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from typing import TYPE_CHECKING

from cloudia.deploy.zips.imports import imports
from cloudia.errors import CloudiaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from cloudia.deploy.zips.imports import Version

__all__ = ["Libraries"]

_COMPILED = {".so", ".pyd", ".dylib", ".dll"}
_NOT_NEEDED = {".pyc", ".pyi"}
_KEPT_METADATA = {"METADATA", "entry_points.txt"}
"""Of the metadata: a version and plugins can be asked for. Its other files tell how and where it was installed."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"\bextra\b")


class Libraries:
    """The distributions of this environment, read once each. Those with compiled parts go along where they are `native`."""

    def __init__(self, version: Version, *, native: bool = False) -> None:
        self._version = version
        self._native = native
        self._owners: Mapping[str, list[str]] = packages_distributions()
        self._files: dict[str, dict[str, bytes]] = {}

    def files(self, modules: Iterable[str]) -> dict[str, bytes]:
        """Return the files behind the top-level `modules`, and what these need. `CloudiaError` where one cannot go along."""
        found: dict[str, bytes] = {}
        waiting = sorted({owner for module in modules for owner in self._owners_of(module)})
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            files = self._read(name)
            found |= files
            waiting += self._needs(distribution(name), files)
        return found

    def _owners_of(self, module: str) -> list[str]:
        owners = self._owners.get(module)
        if not owners:
            raise CloudiaError(
                f"the functions import {module}, which is not installed", hint=f"Install what brings {module}."
            )
        return owners

    def _read(self, name: str) -> dict[str, bytes]:
        if name not in self._files:
            self._files[name] = dict(_content(distribution(name), native=self._native))
        return self._files[name]

    def _needs(self, of: Distribution, files: Mapping[str, bytes]) -> Iterator[str]:
        """Yield the requirements of a distribution that its code imports; extras are whoever asks for them to name."""
        required = [line for line in of.requires or () if not _EXTRA.search(line.partition(";")[2])]
        if not required:
            return
        tops = {top for path, source in files.items() for top in self._imported(path, source)}
        for line in required:
            name = (_NAME.match(line.strip()) or [""])[0]
            try:
                needed = distribution(name)
            except PackageNotFoundError:
                continue  # Its marker says that this Python does without it, or pip would have installed it.
            if any(needed.metadata["Name"] in self._owners.get(top, ()) for top in tops):
                yield needed.metadata["Name"]

    def _imported(self, path: str, source: bytes) -> set[str]:
        """Return the top-level modules that a library's file imports; none where it is no Python, such as a template."""
        if not path.endswith(".py"):
            return set()
        module, package = path[:-3].replace("/", "."), path.endswith("__init__.py")
        try:
            found = imports(source, module, package=package, version=self._version)
        except (SyntaxError, ValueError):
            return set()
        return {each.module.partition(".")[0] for each in found}


def _content(of: Distribution, *, native: bool) -> Iterator[tuple[str, bytes]]:
    name = of.metadata["Name"]
    if of.files is None:
        raise CloudiaError(f"nobody knows which files {name} has", hint="Install it with pip.")
    for path in of.files:
        if path.suffix in _COMPILED and not native:
            raise CloudiaError(
                f"{name} has compiled parts, and the zips hold Python only",
                hint="Bring it to Lambda as a layer, and import it where it may be missing.",
            )
        if _goes_along(path):
            yield path.as_posix(), path.read_binary()


def _goes_along(path: PurePosixPath) -> bool:
    if path.parts[0].endswith(".dist-info"):
        return path.name in _KEPT_METADATA or "license" in path.name.lower()
    return ".." not in path.parts and not path.is_absolute() and path.suffix not in _NOT_NEEDED
