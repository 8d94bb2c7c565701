"""The versions of a training set: which are begun, which are complete, and what each is made of.

Intent comes before effect: version ``n`` is written with all that it is made of, if absent, before a row is joined. A
rerun goes on with it, whatever came since. It is complete when its result is there.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from featurestore.digest import canonical_json, digest
from featurestore.errors import NotFound, did_you_mean
from featurestore.humanize import count, size
from featurestore.resources.feature_service import FeatureServiceSpec
from featurestore.resources.model import Model
from featurestore.resources.training_set import TrainingSetSpec
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage, understanding
from featurestore.training.training_manifest import Pins, TrainingManifest

_DEFINING = {"features", "labels", "feature_names", "split", "shards"}
_AGAIN = "Restore it from a backup, or delete the version's folder and files: the next run makes another"


class TrainingVersion(Model):
    """What version ``number`` is made of. ``spec``: digest of the resource. ``definition``: see :func:`definition_of`.

    ``erasures``: how many there were when it was begun. One that came since makes it worthless while it is not complete.
    """

    number: int
    digest: str
    spec: str
    definition: dict[str, Any]
    pins: Pins
    erasures: int = 0
    created_us: int


class TrainingSetResult(Model):
    """What version ``number`` became. ``unchanged``: nothing was made, as it would have been the same again.

    ``is_erased_from``: keys were erased since; it cannot be made again.
    """

    kind: Literal["trainingSet"] = "trainingSet"
    name: str
    number: int
    digest: str
    definition: str
    rows: int
    size_bytes: int
    shards: int
    parts: dict[str, int]
    rows_without_features: int = 0
    leaks: tuple[str, ...] = ()
    is_erased_from: bool = False
    unchanged: bool = False
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "VersionUnchanged" if self.unchanged else "VersionMade"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        if self.unchanged:
            return f"version {self.number} has all there is"
        parts = ", ".join(f"{name} {rows:,}" for name, rows in self.parts.items())
        shown = f" ({parts})" if len(self.parts) > 1 else ""
        message = f"version {self.number}: {count(self.rows, 'row')}{shown}, {size(self.size_bytes)}"
        if self.rows_without_features:
            message += f"; {count(self.rows_without_features, 'row')} without any feature"
        if self.leaks:
            message += f"; equal to a label: {', '.join(self.leaks)}"
        return message


def definition_of(spec: TrainingSetSpec, service: FeatureServiceSpec | None) -> dict[str, Any]:
    """All that a spec says about rows, with the features of the service that it names."""
    definition = spec.model_dump(mode="json", by_alias=True, include=_DEFINING, exclude_defaults=True)
    definition["labels"].pop("secretRef", None)
    if service is not None:
        features = service.model_dump(mode="json", by_alias=True, include={"features"})
        definition["features"] = {**definition["features"], **features}
    return definition


def version_numbers(storage: Storage, name: str) -> list[int]:
    """Numbers of all versions that were begun and are kept, the oldest first."""
    return _numbers(storage.names(paths.training_versions(name)))


def complete_numbers(storage: Storage, name: str) -> list[int]:
    """Numbers of the versions that are complete, the oldest first."""
    return _numbers(storage.names(paths.training_results(name)))


def _numbers(names: list[str]) -> list[int]:
    return [int(name.removesuffix(".json")) for name in names if name.endswith(".json")]


def read_version(storage: Storage, name: str, number: int) -> TrainingVersion | None:
    """What a version is made of; None if it was not begun, or is kept no more.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.training_version(name, number)
    return read_record(storage, path, TrainingVersion, "the record of a version", _AGAIN)


def begin_version(storage: Storage, name: str, version: TrainingVersion) -> bool:
    """Write the intent; False if another one has this number."""
    data = canonical_json(version.model_dump(mode="json", by_alias=True))
    return storage.put_if_absent(paths.training_version(name, version.number), data)


def read_result(storage: Storage, name: str, number: int) -> TrainingSetResult | None:
    """What a version became; None while it is not complete.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.training_result(name, number)
    return read_record(storage, path, TrainingSetResult, "the result of a version", _AGAIN)


def record_result(storage: Storage, result: TrainingSetResult) -> None:
    """Let readers find the version."""
    data = canonical_json(result.model_dump(mode="json", by_alias=True))
    storage.put_if_absent(paths.training_result(result.name, result.number), data)


def replace_result(storage: Storage, result: TrainingSetResult) -> None:
    """Say what is left of a version."""
    data = canonical_json(result.model_dump(mode="json", by_alias=True))
    storage.replace(paths.training_result(result.name, result.number), data)


def result_of(
    manifest: TrainingManifest, number: int, definition: dict[str, Any], finished_us: int
) -> TrainingSetResult:
    """What a version became, by its manifest."""
    return TrainingSetResult(
        name=manifest.name,
        number=number,
        digest=manifest.digest,
        definition=digest(definition),
        rows=manifest.rows,
        size_bytes=manifest.size_bytes,
        shards=sum(len(part.shards) for part in manifest.parts),
        parts={part.name: part.rows for part in manifest.parts},
        rows_without_features=sum(part.rows_without_features for part in manifest.parts),
        leaks=tuple(sorted({leak.feature for leak in manifest.leaks})),
        is_erased_from=bool(manifest.erasures),
        finished_us=finished_us,
    )


def read_manifest(storage: Storage, name: str, digest: str) -> TrainingManifest | None:
    """What stands in a version; None if there is no complete one of this digest.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.training_manifest(name, digest)
    return read_record(storage, path, TrainingManifest, "the manifest of a training set", _AGAIN)


def find_version(storage: Storage, name: str, version: int | str | None) -> TrainingSetResult:
    """The complete version of a number or digest; the newest if none is asked for.

    Raises:
        NotFound: there is none.
        StorageError: storage did not answer.
    """
    numbers = complete_numbers(storage, name)
    if isinstance(version, str) and version.isdecimal() and len(version) < _DIGEST_DIGITS:
        version = int(version)
    for number in reversed(numbers):
        if isinstance(version, int) and version != number:
            continue
        result = read_result(storage, name, number)
        if result is not None and version in (None, number, result.digest):
            return result
    known = ", ".join(map(str, numbers)) or "none yet"
    raise NotFound(
        f"the training set {name!r} has no complete version" + ("" if version is None else f" {version!r}"),
        where=storage.uri(paths.training(name)),
        got=f"versions {known}",
        hint="`featurestore run` makes one"
        if not numbers
        else did_you_mean(str(version), [str(number) for number in numbers]),
    )


_DIGEST_DIGITS = 16


def find_manifest(
    storage: Storage, name: str, version: int | str | None
) -> tuple[TrainingSetResult, TrainingManifest]:
    """A version as :func:`find_version` has it, and what stands in it.

    Raises:
        NotFound: there is none.
        StorageError: storage did not answer.
    """
    chosen = find_version(storage, name, version)
    manifest = read_manifest(storage, name, chosen.digest)
    if manifest is None:
        raise NotFound(
            f"version {chosen.number} of the training set {name!r} was deleted",
            where=storage.uri(paths.training_manifest(name, chosen.digest)),
        )
    return chosen, manifest


def record_checked(storage: Storage, name: str, now_us: int) -> None:
    """Keep that another version would have been the same again."""
    storage.replace(paths.training_checked(name), canonical_json({"us": now_us}))


def last_checked_us(storage: Storage, name: str) -> int | None:
    """When it was last found that nothing new is there; None if it never was."""
    path = paths.training_checked(name)
    data = storage.find(path)
    if data is None:
        return None
    with understanding("the time of the last check", storage.uri(path), f"Delete {storage.uri(path)}"):
        return int(json.loads(data)["us"])
