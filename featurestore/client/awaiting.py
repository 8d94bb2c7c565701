"""What steps of a pipeline wait for: data in a view, and a version of a training set that has it."""

from __future__ import annotations

import time

from featurestore.client.connection import connect
from featurestore.client.training_data import TrainingData
from featurestore.errors import NotFound, RequestError, TransientError
from featurestore.resources.metadata import resource_name

_POLL_S = 1.0


def await_fresh(store: str, view: str, until: str, timeout_s: float) -> tuple[int, str]:
    """The commit of the dataset that a view has, and its greatest event time, once it is fresh.

    ``until``: an event time; else all that its dataset has.

    Raises:
        NotFound: there is no such view.
        RequestError: the view is computed on demand, and has no commits.
        TransientError: it did not become fresh in time.
    """
    opened = connect(store)
    opened.wait_fresh(view, until or None, timeout=timeout_s)
    description = opened.describe(view)
    if description["commit"] is None:
        raise RequestError("a view that is computed on demand has no commits", where=f"the view {view!r}")
    return description["commit"], description["watermark"] or ""


def await_version(store: str, name: str, view: str, commit: int, timeout_s: float) -> TrainingData:
    """The newest version of a training set, once it was made of at least this commit of the view; of none, if that is "".

    Raises:
        RequestError: the set has no features of the view.
        TransientError: there is none in time.
    """
    opened, end_s = connect(store), time.monotonic() + timeout_s
    view = resource_name(view) if view else ""
    while True:
        try:
            training_set = opened.training_set(name)
        except NotFound as missing:
            why = str(missing)
        else:
            held = {view.name: view.commit for view in training_set.manifest.pins.views}
            if not view or held.get(view, -1) >= commit:
                return training_set
            if view not in held:
                raise RequestError(
                    f"the training set {name!r} has no features of the view {view!r}",
                    where="view",
                    wanted=", ".join(held) or "a set that a resource describes",
                )
            why = f"version {training_set.number} was made of commit {held[view]}"
        if time.monotonic() > end_s:
            raise TransientError(
                "there is no version of the training set in time",
                where=f"{name!r}, {timeout_s:g} s",
                wanted=f"one of commit {commit} of {view!r}" if view else "any",
                got=why,
                hint="Its refresh must be OnNewData, or every so often, and something must run it",
            )
        time.sleep(_POLL_S)
