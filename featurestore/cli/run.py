"""``featurestore run``: lines in a pipe, live progress in a terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from featurestore.errors import NotFound
from featurestore.humanize import format_time
from featurestore.printable import printable
from featurestore.reconcile.steps import Step
from featurestore.registry.project import Project
from featurestore.resources import DataPipeline
from featurestore.runner.journal import Event, Journal
from featurestore.runner.runner import Runner
from featurestore.runner.source_watcher import SourceWatcher
from featurestore.runner.webhook_receiver import WebhookReceiver
from featurestore.runner.worker import Worker, check_engine
from featurestore.timestamps import current_us

_MARKS = {
    "Failed": ("✗", "red"),
    "BatchRefused": ("✗", "red"),
    "BatchPartlyRefused": ("!", "yellow"),
    "RebuiltPartlyRefused": ("!", "yellow"),
    "Rebuilt": ("✓", "green"),
    "BuildRefused": ("✗", "red"),
    "BuildPartlyRefused": ("!", "yellow"),
    "NoArrivals": ("!", "yellow"),
    "PublishedNothing": ("!", "yellow"),
    "Published": ("✓", "green"),
    "BatchCommitted": ("✓", "green"),
}


class Screen:
    """Prints what happened, one line each; in a terminal also what is being done, in a line that is removed when it ends."""

    def __init__(self, console: Console, journal: Journal) -> None:
        self._console = console
        self._journal = journal
        self._status: Status | None = console.status("") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
            self.idle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def idle(self, text: str = "waiting for files, until Ctrl-C") -> None:
        """Nothing is being done."""
        if self._status is not None:
            self._status.update(Text(text, style="dim"))

    def begin(self, step: Step) -> None:
        if self._status is not None:
            self._status.update(Text(step.description))

    def progress(self, step: Step, progress: dict[str, Any]) -> None:
        if self._status is not None:
            counts = ", ".join(
                f"{name} {_number(value)}" for name, value in progress.items() if value is not None
            )
            self._status.update(Text(printable(f"{step.description}: {counts}")))

    def happened(self, event: Event) -> None:
        self._journal.write(event)
        mark, style = _MARKS.get(event.what, ("·", "dim"))
        about = f"{event.subject}/{event.name}" if event.name else event.subject
        line = Text.assemble(
            (format_time(event.time_us), "dim"), " ", (mark, style), f" {about}: ", printable(event.message)
        )
        self._console.print(line)
        self.idle()

    def say(self, text: str) -> None:
        """A line that is not an event."""
        self._console.print(Text(printable(text)))


def run(project: Project, *, once: bool, listen: tuple[str, int]) -> None:
    """Run until stopped, or with ``once`` until nothing is left to be done.

    ``listen``: where notifications are received, if a pipeline wants them.

    The first Ctrl-C (or SIGTERM) lets the step under way end; the second stops at once. Both lose nothing.

    Raises:
        SpecError: the token of notifications cannot be used.
        FeatureStoreError: with ``once``, the first thing that could not be done.
        NotFound: with ``once``, nothing was applied.
        Refused: with ``once``, all was done, and some input was refused.
        KeyboardInterrupt: after the second signal.
    """
    check_engine()
    console = Console(highlight=False, soft_wrap=True)
    with (
        Screen(console, Journal(project.state)) as screen,
        closing(Worker(project.folder)) as worker,
        closing(SourceWatcher(str(project.folder))) as watcher,
    ):
        if not project.registry.names(DataPipeline):
            if once:
                raise NotFound(
                    "nothing has been applied yet",
                    where=project.storage.root,
                    hint="`featurestore apply -f .` does it",
                )
            screen.say("Nothing is applied yet: `featurestore apply -f .` does it.")
        receiver = WebhookReceiver(listen, project.state, os.environ, watcher.hint, screen)
        runner = Runner(project, worker, watcher, screen, current_us, receiver)
        signals = _Signals(runner, screen, worker)
        try:
            with signals:
                worker.warm()
                mode = "until all is done" if once else "waiting for files"
                screen.happened(_event("Started", f"{mode}, with the storage root {project.storage.root}"))
                try:
                    runner.run(draining=once)
                finally:
                    if once:
                        _tell_empty(runner, screen)
                screen.happened(_event("Stopped", "nothing is under way"))
                if once:
                    runner.raise_refused()
        except KeyboardInterrupt:
            worker.kill()
            screen.happened(_event("Stopped", "at once. What was under way is done again by the next run"))
            raise
        finally:
            receiver.close()


class _Signals:
    """While it is entered, signals stop the runner: the first gently, the second at once."""

    def __init__(self, runner: Runner, screen: Screen, worker: Worker) -> None:
        self._runner = runner
        self._screen = screen
        self._worker = worker
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._asked = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._runner.stop()
        self._screen.idle("stopping after this step (Ctrl-C again stops at once)")


def _tell_empty(runner: Runner, screen: Screen) -> None:
    """A line for each pipeline that nothing ever came for: a path may be wrong, and nothing else would say so."""
    for name, why in runner.without_arrivals():
        screen.happened(
            Event(time_us=current_us(), subject="pipeline", name=name, what="NoArrivals", message=why)
        )


def _event(what: str, message: str) -> Event:
    return Event(time_us=current_us(), subject="runner", what=what, message=message)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
