"""Container images without Docker and without a registry, as archives that a node imports.

Nothing is pulled: the base is Debian by debootstrap, Dockerfiles are built by buildah on top of it, and the
image that holds a pod together is one small program. All are cached.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.binaries import CACHE, built, installed

from release.containers import Containers

IMAGES = CACHE / "images"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
# Those who change what is in an image change its version, so that the old one is not taken from the cache.
PAUSE = "localhost/featurestore-tests/pause:1"
BASE = "localhost/featurestore-tests/base:2"
_NOT_NEEDED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "dev",
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image by name, and the archive (as of ``docker save``) that holds it."""

    name: str
    archive: Path


def pause() -> Image:
    """The image that holds the namespaces of each pod."""
    image = _cached(PAUSE)
    with _alone(image) as new:
        if new:
            with TemporaryDirectory() as folder:
                layer = Path(folder) / "layer.tar"
                with tarfile.open(layer, "w") as tar:
                    tar.add(built("pause"), "pause")
                _archive(image.name, layer, {"Entrypoint": ["/pause"]}, new)
    return image


def base() -> Image:
    """Debian with Python, made like the public slim Python images: what a Dockerfile's ``ARG BASE`` is here."""
    image = _cached(BASE)
    with _alone(image) as new:
        if new:
            with TemporaryDirectory(dir=IMAGES) as folder:
                root, layer = Path(folder) / "root", Path(folder) / "layer.tar"
                _run(installed("debootstrap"), "--variant=minbase", f"--include={PACKAGES}", SUITE, root)
                for name in _NOT_NEEDED:
                    shutil.rmtree(root / name, ignore_errors=True)
                    (root / name).mkdir(parents=True)
                (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
                # pip may install into the image's Python, as in the public ones.
                for mark in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
                    mark.unlink()
                _run("tar", "--numeric-owner", f"--directory={root}", "-cf", layer, ".")
                _archive(image.name, layer, {"Cmd": ["python3"], "Env": [_PATH]}, new)
    return image


def containers() -> Containers:
    """Buildah with a store of its own in the cache: what the tests built before is built from there."""
    return Containers(
        [
            *(str(installed("buildah")), f"--root={CACHE / 'buildah'}", f"--runroot={CACHE / 'buildah-run'}"),
            "--storage-driver=overlay",
        ]
    )


def build(dockerfile: Path, context: Path, name: str, target: str = "") -> Image:
    """The image of a Dockerfile, built on the local base. ``name``: ``localhost/featurestore/transforms:tests``."""
    builder, ground = containers(), base()
    if not builder.has(ground.name):
        builder.load(ground.archive)
    options = ("--isolation=chroot", "--format=docker")
    digest = builder.build(
        dockerfile, context, name, target=target, arguments={"BASE": ground.name}, pull=False, options=options
    )
    image = Image(name, IMAGES / f"{digest.rpartition(':')[2]}.tar")
    with _alone(image) as new:
        if new:
            builder.save(name, new)
    return image


_PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


_CREATED = "2024-01-01T00:00:00Z"


def _cached(name: str) -> Image:
    return Image(name, IMAGES / f"{name.rpartition('/')[2].replace(':', '-')}.tar")


@contextmanager
def _alone(image: Image) -> Iterator[Path | None]:
    """Where to put the archive; None if it is there. Whoever comes second waits for the first."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with image.archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if image.archive.exists():
            yield None
            return
        new = image.archive.with_suffix(".new")
        new.unlink(missing_ok=True)
        yield new
        new.rename(image.archive)


def _archive(name: str, layer: Path, config: Mapping[str, Sequence[str]], archive: Path) -> None:
    """Write an image of one layer. https://github.com/moby/docker-image-spec"""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    content = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        # buildah builds on an image only if each of its layers is told of here, and finds what it built
        # before only if it is told when.
        "created": _CREATED,
        "history": [{"created_by": name, "created": _CREATED}],
    }
    said = json.dumps(content).encode()
    number = hashlib.sha256(said).hexdigest()
    listed = [{"Config": f"{number}.json", "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    with TemporaryDirectory(dir=archive.parent) as folder, tarfile.open(archive, "w") as tar:
        for file_name, data in ((f"{number}.json", said), ("manifest.json", json.dumps(listed).encode())):
            (Path(folder) / file_name).write_bytes(data)
            tar.add(Path(folder) / file_name, file_name)
        tar.add(layer, f"{digest}.tar")


def _run(*command: object) -> str:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr[-4000:]
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
    return done.stdout
