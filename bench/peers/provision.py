"""What peers need beyond our own environment, made on demand under var/bench and kept there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.contestant import Prepared, UnavailableError
from intentloop_devstack import UnavailableError as NoServerError
from intentloop_devstack.kafka_jars import find_java

_HERE = Path(__file__).parent
_KEEP = Path("var/bench")
_PYTHONS = ("python3.12", "python3.11", "python3.13", sys.executable)
"""Bytewax has no wheels for later ones."""
_COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_SECONDS = 900
_VERSIONS = """
import importlib.metadata, sys
print(sys.version.split()[0], *map(importlib.metadata.version, sys.argv[1:]))
"""


def own_environment(name: str, *packages: str) -> Callable[[], Prepared]:
    """Prepare `bench/peers/<name>` in a virtual environment of its own.

    `packages` are those whose versions are reported. When the folder has a pom.xml too, its jars
    are fetched and BENCH_JARS is their class path.
    """

    def prepare() -> Prepared:
        python = _environment(name)
        shown = _run([str(python), "-c", _VERSIONS, *packages]).split()
        versions = dict(zip(("python", *packages), shown, strict=True))
        command = [str(python), "-m", f"bench.peers.{name}.main"]
        if not (_HERE / name / "pom.xml").exists():
            return Prepared(command, versions)
        return Prepared(command, versions, {"BENCH_JARS": f"{_fetch_jars(name)}/*"})

    return prepare


def jars(name: str) -> Callable[[], Prepared]:
    """Prepare `bench/peers/<name>/Launcher.java`, run by Java with its job.sql and its jars."""

    def prepare() -> Prepared:
        folder = _fetch_jars(name)
        program, job = _HERE / name / "Launcher.java", _HERE / name / "job.sql"
        command = [_java(), *_JVM, "-cp", f"{folder}/*", str(program), str(job)]
        return Prepared(command, _jar_versions(folder))

    return prepare


_JVM = (
    "-Xmx2g",
    "-Duser.timezone=UTC",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)


def _environment(name: str) -> Path:
    requirements = _HERE / name / "requirements.txt"
    folder = (_KEEP / "venvs" / name).absolute()
    mark, wanted = folder / "requirements.txt", requirements.read_text()
    python = folder / "bin" / "python"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _run([_python(), "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)])
        mark.write_text(wanted)
    return python


def _python() -> str:
    for name in _PYTHONS:
        # A name on PATH may be a shim of a version manager that has no such version at hand.
        if shutil.which(name) and _works([name, "-c", "import venv"]):
            return name
    raise UnavailableError("no Python with venv")


def _fetch_jars(name: str) -> Path:
    pom = _HERE / name / "pom.xml"
    folder = (_KEEP / "jars" / name).absolute()
    mark, wanted = folder / "pom.xml", pom.read_text()
    if not mark.exists() or mark.read_text() != wanted:
        _java()
        if shutil.which("mvn") is None:
            raise UnavailableError("no Maven (mvn) found")
        shutil.rmtree(folder, ignore_errors=True)
        goal = [_COPY_GOAL, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        _run(["mvn", "-B", "-q", "-f", str(pom), *goal])
        mark.write_text(wanted)
    return folder


def _jar_versions(folder: Path) -> dict[str, str]:
    names = (file.stem.rsplit("-", 1) for file in sorted(folder.glob("flink-*.jar")))
    chosen = {"flink-clients", "flink-connector-jdbc-core", "flink-sql-connector-kafka"}
    versions = {}
    for name, number in names:
        # Connectors are numbered by themselves and by Flink: name-4.0.0-2.0.jar.
        head, _, own = name.rpartition("-")
        full = (head, f"{own}-{number}") if own[:1].isdigit() else (name, number)
        if full[0] in chosen:
            versions[full[0]] = full[1]
    return versions


def _java() -> str:
    try:
        return find_java(os.environ)
    except NoServerError as error:
        raise UnavailableError(str(error)) from error


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: list[str]) -> str:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{Path(command[0]).name} took over {_SECONDS} s") from error
    if answer.returncode != 0:
        said = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        wrong = [line for line in said if "ERROR" in line.upper()] or said[-1:]
        raise UnavailableError(f"{Path(command[0]).name} failed: {' '.join(wrong[:1])[:300]}")
    return answer.stdout
