"""Which build of a view is read, and how far each build has come.

A changed definition is built beside the old one. The old build serves until the new one is complete;
then the pointer is moved in one write, and readers go from all of the old to all of the new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from featurestore.arrivals.ledger import Ledger
from featurestore.digest import canonical_json
from featurestore.errors import NotFound
from featurestore.failpoint import hit
from featurestore.humanize import count
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources.feature_view import FeatureView
from featurestore.resources.model import Model
from featurestore.resources.outputs import build_digest, without_rebuild
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage, understanding
from featurestore.views.rebuilds import last_rebuild

_AGAIN = "`featurestore run` writes it again"


class BuildResult(Model):
    """How far a build has come. Also stored at ``layout.build``.

    ``source_version``: version of the dataset it holds. ``version``: version of its own table.
    ``watermark_us``: greatest event time, UTC microseconds; None while it has no row. ``rows_read``, ``took_us``:
    of its commit that read most rows of the dataset, how many, and how long it took.
    """

    kind: Literal["build"] = "build"
    view: str
    digest: str
    source_version: int
    version: int
    rows: int
    rows_quarantined: int
    watermark_us: int | None
    rows_read: int = 0
    took_us: int = 0
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        if not self.rows_quarantined:
            return "Built"
        return "BuildPartlyRefused" if self.rows else "BuildRefused"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        message = f"offline commit {self.source_version}: {count(self.rows, 'row')}"
        if self.rows_quarantined:
            rows = count(self.rows_quarantined, "row")
            message += f", {rows} in quarantine. See `featurestore quarantine ls {self.view}`"
        return message


class BuildPartResult(Model):
    """Rows ``first`` … ``stop - 1`` of those that a build takes were read, and what they came to is kept for its commit."""

    kind: Literal["buildPart"] = "buildPart"
    view: str
    digest: str
    first: int
    stop: int
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "BuildPartRead"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        return f"build {self.digest}, halved: {count(self.stop - self.first, 'row')} read"


class PublishResult(Model):
    """What the online store holds: version ``version`` of the build ``digest``, which is ``commit`` of the dataset."""

    kind: Literal["publish"] = "publish"
    view: str
    digest: str
    version: int
    commit: int
    entities: int
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "Published" if self.entities else "PublishedNothing"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        entities = "entity" if self.entities == 1 else "entities"
        return f"online commit {self.commit}: {self.entities:,} {entities}"


@dataclass(frozen=True, slots=True)
class ActiveBuild:
    """What readers of a view open: the build ``digest``, as the resource ``spec_digest`` describes it.

    The two differ because ttl, tags and the like change the resource and not the stored rows.
    """

    digest: str
    spec_digest: str


def read_active_build(storage: Storage, view: str) -> ActiveBuild | None:
    """The build that serves, or None while the first one is not complete.

    Raises:
        StorageError: storage did not answer.
    """
    data = storage.find(paths.serving(view))
    if data is None:
        return None
    path = storage.uri(paths.serving(view))
    with understanding("the pointer to the build that serves", path, f"Delete {path}: {_AGAIN}"):
        pointer = json.loads(data)
        return ActiveBuild(str(pointer["digest"]), str(pointer["spec"]))


def promote(storage: Storage, view: str, serving: ActiveBuild) -> None:
    """Make readers open this build, described by this resource, from now on. Repeating it changes nothing.

    Raises:
        StorageError: storage did not answer.
    """
    pointer = {"digest": serving.digest, "spec": serving.spec_digest}
    hit("before-promote")
    storage.replace(paths.serving(view), canonical_json(pointer))
    hit("after-promote")


def read_build(storage: Storage, view: str, digest: str) -> BuildResult | None:
    """How far a build has come, or None if it never reached its first commit.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.build(view, digest)
    hint = f"Delete {storage.uri(path)}: {_AGAIN}"
    return read_record(storage, path, BuildResult, "the record of a build", hint)


def record_build(storage: Storage, result: BuildResult) -> None:
    """Keep how far a build has come, for those who load no data engine. Its table is the truth.

    Raises:
        StorageError: storage did not answer.
    """
    storage.replace(paths.build(result.view, result.digest), result.model_dump_json().encode())


def wanted_build(storage: Storage, accepted: Accepted[FeatureView], uid: str) -> str:
    """Digest of the build that the view is to be read from. ``uid``: of its pipeline's dataset.

    Raises:
        StorageError: storage did not answer.
    """
    rebuild = last_rebuild(storage, accepted.resource.metadata.name)
    return build_digest(accepted.resource.spec, uid, rebuild.number if rebuild else 0)


def _uid(storage: Storage, accepted: Accepted[FeatureView]) -> str:
    return Ledger(storage, accepted.resource.spec.source.pipeline).dataset_id()


def definition(storage: Storage, view: str, digest: str) -> Accepted[FeatureView]:
    """The resource that a build is made of: the accepted one, or the one that serves until its successor does.

    Raises:
        NotFound: the build is of neither, or of a dataset that is gone; nobody wants it any more.
        StorageError: storage did not answer.
    """
    registry = Registry(storage)
    accepted, serving = registry.current(FeatureView, view), read_active_build(storage, view)
    digests = []
    if accepted is not None:
        digests.append(wanted_build(storage, accepted, _uid(storage, accepted)))
        if digests[-1] == digest:
            return accepted
    if serving is not None and serving.digest == digest:
        served = Accepted(serving.spec_digest, registry.get(FeatureView, view, serving.spec_digest))
        digests.append(build_digest(served.resource.spec, _uid(storage, served)))
        if digests[-1] == without_rebuild(digest):
            return served
    raise NotFound(
        f"no definition of the view {view!r} has this digest",
        where=storage.uri(paths.features(view, digest)),
        wanted=" or ".join(digests) or "a view that was applied",
        got=digest,
        hint="The view or its pipeline was changed or deleted meanwhile: this build is not needed any more",
    )
