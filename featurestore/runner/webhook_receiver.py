"""Notifications on a laptop: received while a pipeline wants them, handed to the source watcher."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from featurestore.arrivals.notifications.receiver import PATH, SHORTEST_TOKEN, Receiver
from featurestore.errors import SpecError
from featurestore.runner.journal import Event
from featurestore.runner.listener import Listener
from featurestore.timestamps import current_us

TOKEN, TOKEN_PATH = "FEATURESTORE_WEBHOOK_TOKEN", "FEATURESTORE_WEBHOOK_TOKEN_FILE"
"""Environment variables: the token itself, or the file that holds it."""
TOKEN_FILE = "webhook-token"
"""In the project's own folder, made when no variable names another one."""


class WebhookReceiver:
    """See :class:`featurestore.arrivals.notifications.receiver.NotificationDoor`: one token serves all pipelines.

    ``hint``: is given a pipeline, and URLs of objects that may be new in its source.

    Raises:
        SpecError: the token of the environment is too short, or its file cannot be read.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        state: Path,
        environ: Mapping[str, str],
        hint: Callable[[str, Sequence[str]], None],
        listener: Listener,
    ) -> None:
        self._listen, self._state, self._hint, self._listener = listen, state, hint, listener
        self._token, self._where = _configured(environ)
        self._pipelines: frozenset[str] = frozenset()
        self._receiver: Receiver | None = None
        self._failed = False

    @property
    def port(self) -> int | None:
        """Where it listens; None while it does not."""
        return None if self._receiver is None else self._receiver.port

    def attend(self, pipelines: Collection[str]) -> None:
        """Receive for these pipelines, and for no others."""
        self._pipelines = frozenset(pipelines)
        if not pipelines or self._receiver is not None:
            return
        host, port = self._listen
        try:
            if not self._token:
                self._token, self._where = _kept(self._state / TOKEN_FILE)
            receiver = Receiver(host, port, self)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._tell(
                    "Failed", f"no notifications are received at {host}:{port}, files are listed: {error}"
                )
            return
        receiver.start()
        self._receiver = receiver
        self._tell(
            "Listening",
            f"notifications are received at http://{host}:{receiver.port}{PATH}<pipeline>, with the token in {self._where}",
        )

    def token(self, address: str) -> str | None:
        return self._token if address in self._pipelines else None

    def take(self, address: str, urls: Sequence[str]) -> None:
        self._hint(address, urls)

    def close(self) -> None:
        """Receive no more."""
        if self._receiver is not None:
            self._receiver.stop()

    def _tell(self, what: str, message: str) -> None:
        event = Event(time_us=current_us(), subject="runner", name="", what=what, message=message)
        self._listener.happened(event)


def _configured(environ: Mapping[str, str]) -> tuple[str, str]:
    """The token that the environment names, and where it stands; empty if it names none."""
    token, where = environ.get(TOKEN, ""), TOKEN
    if not token and (path := environ.get(TOKEN_PATH)):
        where = path
        try:
            token = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                "the token of notifications cannot be read", where=TOKEN_PATH, got=str(error)
            ) from error
    elif not token:
        return "", ""
    if len(token) < SHORTEST_TOKEN:
        raise SpecError(
            "the token of notifications is too short",
            where=where,
            wanted=f"at least {SHORTEST_TOKEN} characters",
            got=str(len(token)),
        )
    return token, where


def _kept(path: Path) -> tuple[str, str]:
    """The token in a file, which is made if it is not there; and the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(file, "w") as opened:
            opened.write(secrets.token_urlsafe(32))
    return path.read_text().strip(), str(path)
