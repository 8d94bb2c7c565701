"""Every error the project raises on purpose.

    FeatureStoreError
    ├── SpecError            a resource is wrong: its YAML, a field, an expression, a reference      exit 2
    ├── NotFound             the view, feature, pipeline, store or file does not exist               exit 3
    ├── RequestError         a call's arguments are wrong: entities, times, feature names            exit 2
    ├── Refused              files, or a whole batch, were refused: see quarantine                   exit 4
    ├── CodeError            the user's own code raised or could not be imported                     exit 5
    └── TransientError       something outside failed; the same call may succeed later              exit 75
        ├── Conflict         another writer was first
        ├── Busy             a server asks to wait for a while
        ├── StorageError     storage or the online store did not answer, or answered nonsense
        │   └── Damaged      an object in storage is not what this software wrote
        └── Crash            the process with the data engine crashed or was stopped
            ├── WorkerKilled a signal or an exit of its own ended it
            ├── OutOfMemory  it took more memory than it was given
            ├── OutOfTime    it took more time than it was given
            └── Unforeseen   it met an unexpected error

Each error says *where*, what was *wanted*, what was *got* and what to do (*hint*), and keeps these parts
as attributes, without the credentials that a URL in them may hold. ``retryable`` tells a runner or a Job whether
the same attempt can help; ``exit_code`` is what a Job or the command line ends with (75 is ``EX_TEMPFAIL`` of
sysexits.h).
"""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections.abc import Iterable
from typing import Any, ClassVar

from featurestore.redaction import redact


class FeatureStoreError(Exception):
    """What went wrong, where, what was wanted, what was got, and what to do about it.

    >>> str(RequestError("unknown feature", where="entities", wanted="a column 'tailnum'", got="['tail']"))
    "unknown feature: in entities, wanted a column 'tailnum', got ['tail']"
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(
        self, problem: str, *, where: str = "", wanted: str = "", got: str = "", hint: str = ""
    ) -> None:
        self.problem = redact(problem)
        self.where = redact(where)
        self.wanted = redact(wanted)
        self.got = redact(got)
        self.hint = redact(hint)
        super().__init__(self._message())

    def _message(self) -> str:
        parts = []
        if self.where:
            parts.append(f"in {self.where}")
        if self.wanted:
            parts.append(f"wanted {self.wanted}")
        if self.got:
            parts.append(f"got {self.got}")
        message = self.problem + (": " + ", ".join(parts) if parts else "")
        return f"{message}. {self.hint}" if self.hint else message

    def to_dict(self) -> dict[str, Any]:
        """The parts as JSON: how a Job hands its error to whoever started it."""
        return {
            "type": type(self).__name__,
            "problem": self.problem,
            "where": self.where,
            "wanted": self.wanted,
            "got": self.got,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class SpecError(FeatureStoreError):
    """A resource is wrong. ``problems`` holds all that was found, not only the first."""

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        wanted: str = "",
        got: str = "",
        hint: str = "",
        problems: Iterable[FeatureStoreError] = (),
    ) -> None:
        super().__init__(problem, where=where, wanted=wanted, got=got, hint=hint)
        self.problems = tuple(problems)


class NotFound(FeatureStoreError):
    """What was asked for does not exist; the message lists what does."""

    exit_code = 3


class RequestError(FeatureStoreError, ValueError):
    """The arguments of a call are wrong."""

    exit_code = 2


class Refused(FeatureStoreError):
    """Everything was done, but files are in quarantine, or a whole batch was refused."""

    exit_code = 4


class CodeError(FeatureStoreError):
    """The user's own code raised, or could not be imported."""

    exit_code = 5


class TransientError(FeatureStoreError):
    """Something outside failed; the same call may succeed later."""

    retryable = True
    exit_code = 75


class Conflict(TransientError):
    """Another writer was first; look and decide again."""


class Busy(TransientError):
    """A server asks to wait for ``retry_after_s`` seconds."""

    def __init__(self, problem: str, *, retry_after_s: float, where: str = "", hint: str = "") -> None:
        super().__init__(problem, where=where, hint=hint)
        self.retry_after_s = retry_after_s


class StorageError(TransientError):
    """Storage or the online store did not answer, or answered nonsense."""


class Damaged(StorageError):
    """An object in storage is not what this software wrote. What belongs to others is not touched by it."""


class Crash(TransientError):
    """The process with the data engine crashed or was stopped. A batch that causes it again is halved."""


class WorkerKilled(Crash):
    """A signal ended the process, or an exit in code that it ran."""


class OutOfMemory(Crash):
    """The process took more memory than it was given."""


class OutOfTime(Crash):
    """The process took more time than it was given."""


class Unforeseen(Crash):
    """An unexpected error: a defect here, in an engine, or in code that it ran."""


_OUTSIDE = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOLCK", "ESTALE", "ETIMEDOUT", "EINTR")


_CLIENTS = ("aiobotocore", "aiohttp", "botocore", "deltalake", "obstore", "redis", "requests", "urllib3")
_STORAGE = (
    "object store",
    "object-store",
    "generic s3",
    "error performing",
    "error sending request",
    "os error 28",
)


def _says_storage(message: str) -> bool:
    """Whether an engine says that it could not reach storage: a good file is not blamed for that."""
    return any(words in message.lower() for words in _STORAGE)


def foreseen(error: BaseException) -> FeatureStoreError:
    """The error, or what it means here if it is none of ours: the machine's trouble, or what nobody foresaw.

    >>> type(foreseen(OSError(28, "No space left on device"))).__name__, foreseen(KeyError("a")).got
    ('StorageError', "KeyError: 'a'")
    >>> type(foreseen(ValueError("Generic S3 error: Error performing PUT"))).__name__
    'StorageError'
    """
    if isinstance(error, FeatureStoreError):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{os.path.basename(place[0].filename)}, line {place[0].lineno}" if place else ""
    got = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, MemoryError):
        return OutOfMemory(
            "there is not enough memory", where=where, got=got, hint="Raise spec.resources.memory"
        )
    if isinstance(error, OSError) and errno.errorcode.get(error.errno or 0) in _OUTSIDE:
        return StorageError("this machine cannot do it right now", where=error.filename or where, got=got)
    client = type(error).__module__.partition(".")[0] in _CLIENTS
    if client or isinstance(error, ConnectionError | TimeoutError) or _says_storage(str(error)):
        return StorageError("storage or the network does not answer", where=where, got=got)
    return Unforeseen("an unexpected error", where=where, got=got, hint="The log has the traceback")


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or lists what there is.

    >>> did_you_mean("tailnmu", ["tailnum", "carrier"])
    "Did you mean 'tailnum'?"
    >>> did_you_mean("xyz", ["tailnum", "carrier"])
    "There is: 'carrier', 'tailnum'"
    """
    choices = sorted(set(known))
    near = difflib.get_close_matches(got, choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    if not choices:
        return "There is none yet"
    shown = ", ".join(repr(choice) for choice in choices[:12])
    return f"There is: {shown}" + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
