"""Looks that may take long, each in a thread of its own: one that hangs keeps no other from being taken."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from featurestore.errors import TransientError

PATIENCE_S = 10.0
"""So long is a look waited for; then it goes on by itself, and others are taken meanwhile."""


class Patience:
    """Waits for each look, but not for ever. A key has one look under way at most."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._under_way: dict[str, SimpleQueue[BaseException | None]] = {}

    def wait(self, key: str, look: Callable[[], None], what: str) -> None:
        """Return when the look is done; one that was begun before is waited for no longer.

        Raises:
            TransientError: it still is under way.
        """
        ended, patience_s = self._under_way.get(key), 0.0
        if ended is None:
            ended, patience_s = SimpleQueue(), self._patience_s
            self._under_way[key] = ended
            # A daemon: what hangs in a network must not keep the process from ending.
            Thread(target=_run, args=(look, ended), name=f"look-{key}", daemon=True).start()
        try:
            error = ended.get(timeout=patience_s) if patience_s else ended.get_nowait()
        except Empty:
            wanted = f"an answer within {self._patience_s:,.0f} s"
            raise TransientError(f"{what} does not answer yet", where=key, wanted=wanted) from None
        del self._under_way[key]
        if error is not None:
            raise error


def _run(look: Callable[[], None], ended: SimpleQueue[BaseException | None]) -> None:
    try:
        look()
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        ended.put(error)
    else:
        ended.put(None)
