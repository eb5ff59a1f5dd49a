"""The functions' zips: what is in them, that it is enough, and that the bytes are always the same."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cloudia
from cloudia.deploy.zips.archive import archive
from cloudia.deploy.zips.functions import FunctionZip, build_functions
from cloudia.deploy.zips.imports import Import, imports
from cloudia.deploy.zips.libraries import Libraries
from cloudia.deploy.zips.sources import Sources
from cloudia.errors import CloudiaError
from cloudia.stack import Stack
from tests.patience import HANGS
from tests.support import clean_environment, cli

_PYTHON = (3, 13)
_PACKAGE = Path(cloudia.__file__).parent
_IN_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
"""Lambda's Python has these."""
_CALL = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import importlib
handler = importlib.import_module(sys.argv[3]).handler
if "redis" in sys.argv[4:]:  # It is loaded when a job is stopped, where there is Redis.
    importlib.import_module("cloudia.cloud.stops")
answer = handler({"headers": {"authorization": "Basic"}, "pathParameters": {"id": "x"}}, None)
files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
print(json.dumps({"answer": answer, "files": files}))
"""


@pytest.fixture(scope="module")
def zips() -> list[FunctionZip]:
    """The zips as `cloudia build functions` makes them."""
    return build_functions(Stack())


def _names(each: FunctionZip) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(each.data)) as file:
        return set(file.namelist())


# --- what is in them -----------------------------------------------------------------------------------------------------


def test_each_function_has_a_zip(zips: list[FunctionZip]) -> None:
    """There is one for each function of the stack, and its handler is where it says."""
    assert [each.name for each in zips] == sorted({route.function for route in Stack().routes})
    for each in zips:
        module, _, attribute = each.handler.rpartition(".")
        assert attribute == "handler"
        assert f"{module.replace('.', '/')}.py" in _names(each)


def test_only_what_is_imported(zips: list[FunctionZip]) -> None:
    """Of our own there are the core, the cloud and that one function; of others' PyJWT, and nothing that Lambda brings.

    The one that publishes alone brings the library of Redis, too.
    """
    publish = {function.name for function in Stack().functions if function.publishes}
    assert publish == {"cancel_job"}
    for each in zips:
        names = _names(each)
        redis = {"redis"} if each.name in publish else set[str]()
        assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"cloudia", "jwt"} | redis
        assert ("cloudia/cloud/redis.py" in names) == bool(redis)
        rooms = {name.split("/")[1] for name in names if name.startswith("cloudia/") and name.count("/") > 1}
        assert rooms == {"cloud", "functions", "prices", "telemetry"}
        assert "cloudia/prices/llm.json" in names
        modules = {name.split("/")[-1] for name in names if name.startswith("cloudia/functions/")}
        assert modules == {"__init__.py", "http.py", "services.py", f"{each.name}.py"}
        assert not {name for name in names if name.endswith((".pyc", ".pyi", "RECORD", "INSTALLER"))}
        assert len(each.data) < (800_000 if redis else 195_000)


def test_the_operators_zip_is_apart() -> None:
    """It is there where it is asked for, has what operates a stack, and changes no byte of the others."""
    plain = {each.name: each.data for each in build_functions(Stack())}
    whole = {each.name: each for each in build_functions(Stack(operator=True))}
    assert whole.keys() - plain.keys() == {"operator"}
    assert {name: whole[name].data for name in plain} == plain
    names = _names(whole["operator"])
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"cloudia", "jwt", "redis"}
    assert "cloudia/operate/live.py" in names
    assert len(whole["operator"].data) < 850_000


def test_a_zip_is_enough(zips: list[FunctionZip], tmp_path: Path) -> None:
    """Each function answers where there is nothing but Python, boto3 and its zip, and loads nothing from elsewhere."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in _IN_THE_RUNTIME:
        (runtime / name).symlink_to(next(folder / name for folder in _site() if (folder / name).exists()))
    running = []
    for each in zips:
        code = tmp_path / each.name
        with zipfile.ZipFile(io.BytesIO(each.data)) as file:
            file.extractall(code)
        module, also = each.handler.rpartition(".")[0], ["redis"] if each.name == "cancel_job" else []
        command = [sys.executable, "-I", "-S", "-c", _CALL, str(code), str(runtime), module, *also]
        environment = clean_environment(CLOUDIA_AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_LAMBDA_FUNCTION_NAME="f")
        running.append(
            (
                code,
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
            )
        )
    said = [(code, process.communicate(timeout=HANGS), process.returncode) for code, process in running]
    for code, (out, err), status in said:
        assert status == 0, err
        shown = json.loads(out)
        wanted = 503 if code.name == "health" else 401  # it needs no token, but AWS, and there is none
        assert shown["answer"]["statusCode"] == wanted, out
        standard = Path(os.__file__).parent
        strangers = [
            file
            for file in shown["files"]
            if not Path(file).is_relative_to(code)
            and not Path(file).is_relative_to(runtime)
            and not (Path(file).is_relative_to(standard) and "site-packages" not in file)
        ]
        assert strangers == []


def _site() -> list[Path]:
    return [Path(folder) for folder in sys.path if folder.endswith("site-packages")]


def test_libraries_bring_what_they_need() -> None:
    """A library comes with the requirements that it imports on Lambda's Python, and without extras and older Pythons'."""
    libraries = Libraries(_PYTHON)
    tops = {name.split("/")[0] for name in libraries.files({"starlette"}) if ".dist-info" not in name}
    assert {"starlette", "anyio"} <= tops
    assert not tops & {"jinja2", "httpx", "cloudia"}
    jwt = libraries.files({"jwt"})
    assert {name.split("/")[0] for name in jwt if ".dist-info" not in name} == {"jwt"}
    kept = {name.split("/")[1] for name in jwt if ".dist-info" in name}
    assert kept <= {"METADATA", "licenses", "entry_points.txt", "LICENSE"}
    assert "METADATA" in kept


def test_compiled_parts_are_refused() -> None:
    """A library with machine code is refused by name: it would run on one architecture only."""
    with pytest.raises(CloudiaError, match="psutil has compiled parts") as caught:
        Libraries(_PYTHON).files({"psutil"})
    assert caught.value.hint


def test_what_is_not_installed_is_named() -> None:
    """A module that nothing installed brings is named."""
    with pytest.raises(CloudiaError, match="no_such_module, which is not installed"):
        Libraries(_PYTHON).files({"no_such_module"})


# --- the same bytes ------------------------------------------------------------------------------------------------------


def test_the_same_bytes_elsewhere(zips: list[FunctionZip], tmp_path: Path) -> None:
    """Another folder, other times of the files, another process, time zone, umask and hash seed: the same bytes."""
    copy = tmp_path / "elsewhere" / "cloudia"
    shutil.copytree(_PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(copy.rglob("*.py"))):
        os.utime(path, (number * 86_400, number * 86_400))
        path.chmod(0o600)
    assert [each.data for each in build_functions(Stack(), folder=copy)] == [each.data for each in zips]
    done = cli("build", "functions", "--json", folder=tmp_path, environment={"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})
    assert done.returncode == 0, done.stderr
    assert [row["sha256"] for row in json.loads(done.stdout)["functions"]] == [each.sha256 for each in zips]


def test_the_bytes_follow_from_the_content() -> None:
    """The order in which files are named does not show; what is in them does. Everyone may read them."""
    files = {"b.py": b"1", "a/c.py": b"2" * 1000}
    made = archive(files)
    assert made == archive(dict(reversed(files.items())))
    assert made != archive({**files, "b.py": b"2"})
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        assert file.namelist() == ["a/c.py", "b.py"]
        assert {entry.external_attr >> 16 for entry in file.infolist()} == {0o100644}
        assert file.testzip() is None


def test_a_change_shows_in_its_zip_only(zips: list[FunctionZip], tmp_path: Path) -> None:
    """An edited function makes another zip of that function, and leaves the others as they were."""
    copy = tmp_path / "cloudia"
    shutil.copytree(_PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "functions" / "get_job.py").open("a") as file:
        file.write("# changed\n")
    pairs = zip(build_functions(Stack(), folder=copy), zips, strict=True)
    assert [new.name for new, old in pairs if new.sha256 != old.sha256] == ["get_job"]


# --- how imports are read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a, b.c as d", [Import("a"), Import("b.c")]),
        ("from a.b import c, d", [Import("a.b", ("c", "d"))]),
        ("from . import x", [Import("pkg.sub", ("x",))]),
        ("from .. import x", [Import("pkg", ("x",))]),
        ("from .x import y", [Import("pkg.sub.x", ("y",))]),
        ("if TYPE_CHECKING:\n    import a", []),
        ("if typing.TYPE_CHECKING:\n    import a\nelse:\n    import b", [Import("b")]),
        ("if not TYPE_CHECKING:\n    import a", [Import("a")]),
        ("if sys.version_info >= (3, 11):\n    import a\nelse:\n    import b", [Import("a")]),
        ("if sys.version_info < (3, 11):\n    import a\nelif x:\n    import b", [Import("b")]),
        ("if x:\n    import a\nelse:\n    import b", [Import("a"), Import("b")]),
        ("def f():\n    import a", [Import("a")]),
        ("class C:\n    async def f(self):\n        with x:\n            import a", [Import("a")]),
        ("try:\n    import a\nexcept ImportError:\n    import b", [Import("a", (), True), Import("b", (), True)]),
        ("try:\n    import a\nexcept (X, ModuleNotFoundError):\n    pass", [Import("a", (), True)]),
        ("try:\n    import a\nexcept KeyError:\n    import b", [Import("a"), Import("b")]),
        ("try:\n    pass\nfinally:\n    import a", [Import("a")]),
        ("match x:\n    case 1:\n        import a", [Import("a")]),
        ("for x in y:\n    import a\nelse:\n    import b", [Import("a"), Import("b")]),
        ("'import a'\n# import b", []),
    ],
)
def test_imports(source: str, found: list[Import]) -> None:
    """An import is found wherever it stands, unless only a type checker or an older Python would take it."""
    assert imports(source.encode(), "pkg.sub.mod", package=False, version=_PYTHON) == found


def test_a_package_is_its_own_parent() -> None:
    """In an `__init__`, one dot is the package itself."""
    assert imports(b"from . import x", "pkg", package=True, version=_PYTHON) == [Import("pkg", ("x",))]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import cloudia.errors\nx = (", r"post\.py cannot be read: line 2"),
        ("\0", r"post\.py cannot be read"),
        ("from own.gone import x", r"own\.post imports own\.gone, which is not there"),
    ],
)
def test_sources_that_cannot_be_read(tmp_path: Path, source: str, said: str) -> None:
    """A broken file or a module that is not there is one sentence that names it."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "post.py").write_text(source)
    with pytest.raises(CloudiaError, match=said):
        Sources(own, _PYTHON).follow("own.post")


def test_sources_go_round_in_circles(tmp_path: Path) -> None:
    """Modules that import each other, lazily or not, are each taken once; what is optional is no reason to fail."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "a.py").write_text("from own import b\ntry:\n    import own.gone, gone\nexcept ImportError:\n    pass\n")
    (own / "b.py").write_text("import json, other.part\ndef f():\n    from own.a import x\n")
    files, foreign = Sources(own, _PYTHON).follow("own.a")
    assert sorted(files) == ["own/__init__.py", "own/a.py", "own/b.py"]
    assert foreign == {"other"}


# --- the command ---------------------------------------------------------------------------------------------------------


def test_the_command_writes_them(zips: list[FunctionZip], tmp_path: Path) -> None:
    """`cloudia build functions` writes each zip, prints a plain table to a pipe, and writes the same again over it."""
    for _ in range(2):
        done = cli("build", "functions", "--output", "out/zips", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in (tmp_path / "out" / "zips").iterdir()} == {f"{each.name}.zip" for each in zips}
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["ZIP", "BYTES", "FILES", "SHA256"]
    assert "\x1b" not in done.stdout
    for row, each in zip(rows, zips, strict=True):
        path, size, files, digest = row.split()
        assert (tmp_path / path).read_bytes() == each.data
        assert (size, files, digest) == (f"{len(each.data):,}", str(each.files), each.sha256[:12])


def test_the_command_in_json(zips: list[FunctionZip], tmp_path: Path) -> None:
    """`--json` says all that a deployment has to know, with `dist/functions` as the folder unless named."""
    done = cli("build", "functions", "--json", folder=tmp_path)
    document = json.loads(done.stdout)
    assert document["runtime"] == "python3.13"
    assert document["architectures"] == ["x86_64", "arm64"]
    assert document["functions"] == [{**each.to_json(), "path": f"dist/functions/{each.name}.zip"} for each in zips]


@pytest.mark.parametrize("output", ["taken", "taken/inside", "/proc/none"])
def test_a_folder_that_cannot_be(tmp_path: Path, output: str) -> None:
    """Where the folder cannot be made, one sentence says so, with the exit code of a wrong command."""
    (tmp_path / "taken").touch()
    done = cli("build", "functions", "--output", output, "--json", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    error = json.loads(done.stderr)["error"]
    assert "cannot be written" in error["message"]
    assert error["hint"]
