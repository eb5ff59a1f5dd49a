"""Our own modules that a module imports, directly or through others, as files; and what they import of others'."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cloudia.deploy.zips.imports import imports
from cloudia.errors import CloudiaError

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.deploy.zips.imports import Import, Version

__all__ = ["Sources"]


class Sources:
    """The modules of one package, `folder`; each file is read once."""

    def __init__(self, folder: Path, version: Version) -> None:
        self._package = folder.name
        self._above = folder.parent
        self._version = version
        self._read: dict[str, tuple[Path, bytes, list[Import]]] = {}

    def follow(self, start: str) -> tuple[dict[str, bytes], set[str]]:
        """Return the files of a module and of all that it imports of the package, and the foreign top-level modules.

        With a module comes the JSON file of its name.

        What stands in a `try` that goes on without it is foreign to nobody, as is all that a module of ours there wants: it is
        taken where it is used, or not at all.
        `CloudiaError` names what cannot be read.
        """
        files: dict[str, bytes] = {}
        foreign: set[str] = set()
        waiting, later, seen = [start], list[str](), set()
        while waiting or later:
            wanted = bool(waiting)  # What may be missing comes behind all that may not.
            module = (waiting or later).pop()
            if module in seen:
                continue
            seen.add(module)
            path, source, found = self._module(module)
            files[path.relative_to(self._above).as_posix()] = source
            data = path.with_suffix(".json")
            if data.is_file():  # What a module reads bears its name.
                files[data.relative_to(self._above).as_posix()] = data.read_bytes()
            if "." in module:
                (waiting if wanted else later).append(module.rpartition(".")[0])
            for each in found:
                top = each.module.partition(".")[0]
                needed = wanted and not each.optional
                if top == self._package:
                    (waiting if needed else later).extend(self._own(each, module))
                elif top not in sys.stdlib_module_names and needed:
                    foreign.add(top)
        return files, foreign

    def _own(self, each: Import, importer: str) -> list[str]:
        """Return the modules behind an import: the one that is named, and those of the names taken that are modules."""
        if self._path(each.module) is None:
            if each.optional:
                return []
            raise CloudiaError(f"{importer} imports {each.module}, which is not there")
        inner = [f"{each.module}.{name}" for name in each.names]
        return [each.module, *(name for name in inner if self._path(name))]

    def _path(self, module: str) -> Path | None:
        base = self._above.joinpath(*module.split("."))
        return next(
            (path for path in (base / "__init__.py", base.with_name(f"{base.name}.py")) if path.is_file()), None
        )

    def _module(self, module: str) -> tuple[Path, bytes, list[Import]]:
        if module not in self._read:
            path = self._path(module)
            if path is None:
                raise CloudiaError(f"there is no module {module}")
            try:
                source = path.read_bytes()
                found = imports(source, module, package=path.name == "__init__.py", version=self._version)
            except SyntaxError as error:
                raise CloudiaError(f"{path} cannot be read: line {error.lineno}: {error.msg}") from error
            except (OSError, ValueError) as error:
                raise CloudiaError(f"{path} cannot be read: {error}") from error
            self._read[module] = path, source, found
        return self._read[module]
