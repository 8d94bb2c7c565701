"""What people call the kinds of resources."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.errors import RequestError, did_you_mean
from featurestore.registry.registry import Kind

_WORDS: dict[str, Kind] = {
    "pipeline": "pipelines",
    "pipelines": "pipelines",
    "datapipeline": "pipelines",
    "datapipelines": "pipelines",
    "dp": "pipelines",
    "view": "views",
    "views": "views",
    "featureview": "views",
    "featureviews": "views",
    "fv": "views",
}
STORES = ("store", "stores", "featurestore", "featurestores", "fs")
KIND_NAMES: dict[Kind, str] = {"pipelines": "datapipeline", "views": "featureview"}


def kind_of(word: str, *, wanted: str = "pipelines or views", more: Iterable[str] = ()) -> Kind:
    """The kind that a word means: singular, plural or short. ``more``: what else the caller takes.

    Raises:
        RequestError: no kind is called so.

    >>> kind_of("fv"), kind_of("DataPipeline")
    ('views', 'pipelines')
    """
    kind = _WORDS.get(word.lower())
    if kind is None:
        raise RequestError(
            f"there is no kind {word!r}",
            wanted=wanted,
            hint=did_you_mean(word.lower(), [*_WORDS, *more]),
        )
    return kind
