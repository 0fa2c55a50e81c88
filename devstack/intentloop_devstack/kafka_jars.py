"""Apache Kafka's jars, brought by Maven into a folder once."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from intentloop_devstack.errors import UnavailableError

VERSION = "4.1.1"
_OLDEST_JAVA = 17
_MAVEN_SECONDS = 300
_COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
# The second dependency carries Kafka's log lines to log4j, or its log would be empty.
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>intentloop</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""


def find_java(environ: Mapping[str, str]) -> str:
    """Return a Java that runs this Kafka: JAVA_HOME's, else the one on PATH.

    Raises:
        UnavailableError: there is none, or it is too old.
    """
    home = environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java", path=environ.get("PATH"))
    if not java or not Path(java).exists():
        raise UnavailableError(f"no Java found, install Java {_OLDEST_JAVA} or newer")
    answer = subprocess.run(
        [java, "-version"], env=dict(environ), capture_output=True, text=True, check=False
    )
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if version is None:
        raise UnavailableError(f"{java} does not tell its version")
    if int(version[1]) < _OLDEST_JAVA:
        raise UnavailableError(f"{java} is Java {version[1]}, Kafka needs {_OLDEST_JAVA} or newer")
    return java


def fetch_jars(cache: Path, *, environ: Mapping[str, str]) -> Path:
    """Return a folder with all jars of the broker, downloading them the first time (7 s, 43 MB).

    Raises:
        UnavailableError: Maven is missing or failed.
    """
    jars = cache / VERSION
    if jars.is_dir():
        return jars
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not jars.is_dir():
                _download(jars, environ)
    except PermissionError as error:
        raise UnavailableError(f"cannot keep Kafka's jars: {error}") from error
    return jars


def _download(jars: Path, environ: Mapping[str, str]) -> None:
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None:
        raise UnavailableError("no Maven (mvn) found to fetch Kafka with, install it")
    with tempfile.TemporaryDirectory(dir=jars.parent) as work:
        (Path(work) / "pom.xml").write_text(_POM)
        target = Path(work) / "jars"
        _run_maven([maven, "-B", "-q", _COPY_GOAL, f"-DoutputDirectory={target}"], work, environ)
        # Whole or not at all, also when this process is killed meanwhile.
        target.rename(jars)


def _run_maven(command: list[str], work: str, environ: Mapping[str, str]) -> None:
    try:
        answer = subprocess.run(
            command,
            cwd=work,
            env=dict(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=_MAVEN_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Maven took over {_MAVEN_SECONDS} s to fetch Kafka") from error
    if answer.returncode != 0:
        reasons = [line for line in answer.stdout.splitlines() if "ERROR" in line]
        raise UnavailableError(
            f"Maven could not fetch Kafka: {(reasons or [answer.stderr])[0][:300]}"
        )
