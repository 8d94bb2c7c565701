"""Why a condition is so, in one word for machines. What each means, and what to do: docs/conditions.md."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """All reasons there are."""

    ACCEPTED = "Accepted"
    BACKING_OFF = "BackingOff"
    BATCH_PENDING = "BatchPending"
    BUILDING = "Building"
    COLLECTING = "Collecting"
    DRIFT = "Drift"
    DUE = "Due"
    FAILED = "Failed"
    IDLE = "Idle"
    LISTED = "Listed"
    NO_BATCH_YET = "NoBatchYet"
    NOTHING_FAILS = "NothingFails"
    NOT_BUILT = "NotBuilt"
    NOT_OBSERVED = "NotObserved"
    NOT_WANTED = "NotWanted"
    ONLINE_UNAVAILABLE = "OnlineUnavailable"
    PIPELINE_MISSING = "PipelineMissing"
    PUBLISHING = "Publishing"
    RETRYING = "Retrying"
    RUNNING = "Running"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    SUSPENDED = "Suspended"
    SWAPPING = "Swapping"
    UP_TO_DATE = "UpToDate"
    WAITING = "Waiting"
    WAITING_FOR_DATA = "WaitingForData"
    WAITING_FOR_FILES = "WaitingForFiles"
    WAITING_FOR_LOOKUP = "WaitingForLookup"
