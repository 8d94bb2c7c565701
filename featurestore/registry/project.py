"""A project: a folder with a ``store.yaml``, or a storage root by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featurestore.errors import NotFound, RequestError, SpecError
from featurestore.redaction import has_credentials
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore
from featurestore.resources.document import MORE_THAN_ONE, load
from featurestore.resources.location import resolve_uri
from featurestore.storage.objects import Storage

STORE_FILE = "store.yaml"
STATE_FOLDER = ".featurestore"
"""Below the project's folder: what belongs to this machine only, such as the runner's journal."""


@dataclass(frozen=True)
class Project:
    """``folder``: what relative paths in resources are relative to. ``store``: as its file says, else as accepted."""

    folder: Path
    storage: Storage
    store: FeatureStore

    @property
    def registry(self) -> Registry:
        return Registry(self.storage)

    @property
    def state(self) -> Path:
        return self.folder / STATE_FOLDER


def open_project(where: str | Path | None, environ: Mapping[str, str], folder: Path) -> Project:
    """The project at ``where``, else at ``FEATURESTORE_URI``, else in ``folder``.

    ``where`` is a folder with a ``store.yaml``, or a storage root that was applied to.

    Raises:
        NotFound: there is no store.
        RequestError: ``where`` holds credentials.
        SpecError: its ``store.yaml`` is wrong.
    """
    wanted = str(where) if where is not None else environ.get("FEATURESTORE_URI") or str(folder)
    if has_credentials(wanted):
        raise RequestError(
            "the URI of a store contains credentials",
            where="FEATURESTORE_URI, or the folder that is named",
            got=wanted,
            hint="Put them in the environment, for example as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if "://" not in wanted or wanted.startswith("file://"):
        path = Path(wanted.removeprefix("file://")).expanduser()
        path = path if path.is_absolute() else folder / path
        if (path / STORE_FILE).is_file():
            store = read_store(path / STORE_FILE)
            return Project(
                path.resolve(),
                Storage(resolve_uri(store.spec.offline.uri.removeprefix("file://"), path)),
                store,
            )
        if path.is_file():
            raise NotFound(
                "a feature store is a folder, not a file",
                where=str(path),
                wanted=f"a folder with a {STORE_FILE}, or a storage root",
                hint=f"Name its folder: {path.parent}",
            )
        wanted = str(path)
    storage = Storage(wanted)
    accepted = Registry(storage).store()
    if accepted is None:
        raise NotFound(
            "there is no feature store",
            where=wanted,
            wanted=f"a folder with a {STORE_FILE}, or a storage root that was applied to",
            hint="`featurestore init NAME` makes a folder to begin with; -C FOLDER or FEATURESTORE_URI name another",
        )
    return Project(folder.resolve(), storage, accepted)


def read_store(path: Path) -> FeatureStore:
    """The FeatureStore of a file.

    Raises:
        SpecError: the file does not hold exactly one FeatureStore, or that is wrong.
    """
    loaded = load([path])
    stores = [resource for resource in loaded.resources if isinstance(resource, FeatureStore)]
    # What else is in the file is not asked for: readers go by what was accepted, and `apply` says what is wrong.
    if not stores or any(problem.problem.startswith(MORE_THAN_ONE) for problem in loaded.problems):
        loaded.check()
    if not stores:
        raise SpecError(
            "the file does not say where features live",
            where=str(path),
            wanted="a document of kind FeatureStore",
        )
    return stores[0]
