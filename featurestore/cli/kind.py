"""The names of the kinds of resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from featurestore.errors import RequestError, did_you_mean
from featurestore.resources.kinds import KINDS, ResourceKind


def find_kind(
    word: str, *, more: Iterable[str] = (), among: Callable[[ResourceKind], bool] | None = None
) -> ResourceKind:
    """The kind that a word means: singular, plural or short. ``more``: what else the caller takes.

    ``among``: which kinds it takes; None for those of which a project has several.

    Raises:
        RequestError: no such kind is called so.

    >>> find_kind("fv").name, find_kind("DataPipeline").folder
    ('FeatureView', 'pipelines')
    """
    kinds = [kind for kind in KINDS.values() if (among(kind) if among else not kind.only_one)]
    for kind in kinds:
        if word.lower() in kind.words:
            return kind
    words = [*(word for kind in kinds for word in kind.words), *more]
    *others, last = *(kind.folder for kind in kinds), *more
    raise RequestError(
        f"there is no kind {word!r}",
        wanted=f"{', '.join(others)} or {last}" if others else last,
        hint=did_you_mean(word.lower(), words),
    )
