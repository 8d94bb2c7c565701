"""Building, pushing and running images, with Docker, Podman or Buildah."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

PROGRAMS = ("docker", "podman", "buildah")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_AUTHORITY = "/run/secrets/ca"


class ContainersError(Exception):
    """There is nothing to build images with, or it failed. The message says what it printed last."""


class Containers:
    """What builds and runs images here. ``command``: ``["buildah", "--root=…"]``, a program with options that all of
    its commands take.

    Raises:
        ContainersError: from each method, if the program failed.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self.program = Path(command[0]).name
        self._is_docker = self.program == "docker"

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        target: str = "",
        arguments: Mapping[str, str] | None = None,
        created_s: int = 0,
        pull: bool = True,
        options: Iterable[str] = (),
    ) -> str:
        """Build the image of a Dockerfile's target, as ``name``; its digest here. ``created_s``: when it says that it was
        made, in seconds since 1970, so that the same sources are the same image. ``pull=False``: what it is based on
        must be here. The environment's ``BUILD_OPTIONS`` are options of the program besides.
        """
        given, secrets = pip_settings()
        arguments = {**given, **(arguments or {})}
        command = ["build", f"--tag={name}", f"--file={dockerfile}"]
        if self._is_docker:
            arguments["SOURCE_DATE_EPOCH"] = str(created_s)
        else:
            command = ["bud" if self.program == "buildah" else "build", *command[1:], "--layers"]
            command += [f"--timestamp={created_s}", *([] if pull else ["--pull-never"])]
        command += [f"--target={target}"] if target else []
        command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        command += [f"--secret={it}" for it in secrets]
        with TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            more = shlex.split(os.environ.get("BUILD_OPTIONS", ""))
            self._run(*command, f"--iidfile={digest}", *options, *more, context)
            return digest.read_text().strip()

    def push(self, name: str, to: str, options: Iterable[str] = ()) -> str:
        """Push an image as ``to``, a reference with a tag; what it is there: ``registry/name@sha256:…``."""
        repository = to.rpartition(":")[0]
        if self._is_docker:
            self._run("tag", name, to)
            self._run("push", "--quiet", *options, to)
            known = self._run("image", "inspect", '--format={{join .RepoDigests " "}}', to).split()
            (found,) = [it for it in known if it.startswith(f"{repository}@")]
            return found
        with TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            # Docker takes loopback for trusted by itself.
            trusted = ["--tls-verify=false"] if is_loopback(to) else []
            self._run("push", *trusted, *options, f"--digestfile={digest}", name, f"docker://{to}")
            return f"{repository}@{digest.read_text().strip()}"

    def has(self, name: str) -> bool:
        """Whether an image is here."""
        inspect = [
            *self._command,
            *(["inspect"] if self.program == "buildah" else ["image", "inspect"]),
            name,
        ]
        return not _exit_code(inspect)

    def tagged(self, repository: str) -> list[str]:
        """Names of the images of a repository that are here: ``localhost/name:1``."""
        name = "{{.Name}}" if self.program == "buildah" else "{{.Repository}}"
        return self._run(
            "images", f"--filter=reference={repository}", f"--format={name}:{{{{.Tag}}}}"
        ).split()

    def pull(self, name: str) -> None:
        self._run("pull", "--quiet", name)

    def load(self, archive: Path) -> None:
        """The image of an archive is here, as of ``docker save``, by the name that it has there."""
        if self.program == "buildah":
            self._run("pull", "--quiet", f"docker-archive:{archive}")
        else:
            self._run("load", f"--input={archive}")

    def save(self, name: str, archive: Path) -> None:
        """Write an image into an archive, as ``docker save`` does."""
        if self.program == "buildah":
            self._run("push", "--quiet", name, f"docker-archive:{archive}:{name}")
        else:
            self._run("save", f"--output={archive}", name)

    def run(self, name: str, command: Sequence[str]) -> str:
        """What a program prints in a container of an image: as the image's user, and, but with Buildah, which cannot do
        so, with a root file system that cannot be written.
        """
        if self.program == "buildah":
            container = self._run("from", "--pull-never", name).strip()
            try:
                return self._run("run", container, "--", *command)
            finally:
                self._run("rm", container)
        options = ("--rm", "--read-only", "--tmpfs=/tmp", f"--entrypoint={command[0]}")
        return self._run("run", *options, name, *command[1:])

    def remove(self, names: Iterable[str]) -> None:
        """Forget images by these names; layers that are used elsewhere stay."""
        if given := list(names):
            self._run("rmi", "--force", *given)

    def _run(self, *command: object) -> str:
        line = [*self._command, *map(str, command)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            said = done.stdout[-4000:] + done.stderr[-4000:]
            # A program that is given as an argument is not repeated.
            shown = shlex.join(it for it in line if "\n" not in it)
            raise ContainersError(f"{shown} ended with {done.returncode}:\n{said}")
        return done.stdout


def found() -> Containers:
    """What `CONTAINERS` names, else the first program that works.

    Raises:
        ContainersError: there is none.
    """
    named = os.environ.get("CONTAINERS", "").strip()
    if named:
        return Containers(shlex.split(named))
    for program in PROGRAMS:
        # A client without a server, or one that lacks rights, is of no use.
        if shutil.which(program) and not _exit_code([program, "info"]):
            return Containers([program])
    raise ContainersError(
        f"none of {', '.join(PROGRAMS)} works here: install one, or name one by CONTAINERS=…"
    )


def pip_settings() -> tuple[dict[str, str], list[str]]:
    """Build arguments and secrets by which pip in a build finds packages as this machine's pip does."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    settings = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = value.strip("'\"")
    index, authority = settings.get("index-url", ""), settings.get("cert", "")
    arguments = {"PIP_INDEX_URL": index} if index else {}
    if not authority:
        return arguments, []
    return {**arguments, "PIP_CERT": _AUTHORITY}, [f"id=ca,src={authority}"]


def is_loopback(reference: str) -> bool:
    """Whether a registry is on this machine, and so speaks plain HTTP.

    >>> is_loopback("localhost:5000/x/featurestore-job:0.1.0"), is_loopback("localhost.example.org/x")
    (True, False)
    """
    host = reference.partition("/")[0]
    return host in LOOPBACK or host.rpartition(":")[0] in LOOPBACK


def _exit_code(command: Sequence[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode
