"""``featurestore get --watch``: the list once, and then each line that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def watch(
    show: Callable[[int], str], now_us: Callable[[], int], wait: Callable[[], bool], *, whole: bool = False
) -> Iterator[str]:
    """What to print: all that ``show(now)`` says, then lines of it that are new, until ``wait`` returns False.

    ``whole``: what it says is a document, and is printed whole each time it changes.
    Ages grow without anything having happened: lines are compared as they would have looked at the beginning.
    """
    start_us = now_us()
    before = show(start_us)
    yield before
    while wait():
        at_start = show(start_us)
        if at_start == before:
            continue
        known, start, current = set(before.splitlines()), at_start.splitlines(), show(now_us()).splitlines()
        before = at_start
        if whole:
            yield at_start
            continue
        # Something may have happened between the two looks: then the first one counts, and the next look tells more.
        shown = current if len(current) == len(start) else start
        changed = [line for line, compared in zip(shown, start, strict=True) if compared not in known]
        if changed:
            yield "\n".join(changed)
