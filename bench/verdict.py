"""What a soak came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.resident_memory import MemoryGrowth


@dataclass
class SoakVerdict:
    """What a soak came to. ``faults``: all that must not be, in words."""

    faults: list[str] = field(default_factory=list)
    rows: int = 0
    reads: int = 0
    values: int = 0
    failed_reads: int = 0
    listings: dict[str, int] = field(default_factory=dict)
    drained_s: float | None = None
    growth: dict[str, MemoryGrowth | None] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    last_words: list[str] = field(default_factory=list)
    """Where not all was read: how far each pipeline is, and what was logged last."""


def summary(verdict: SoakVerdict) -> list[str]:
    """In lines."""
    drained = (
        "not all was read"
        if verdict.drained_s is None
        else f"all was read {verdict.drained_s:.0f} s after the last arrival"
    )
    listings = ", ".join(f"{side} {number}" for side, number in verdict.listings.items())
    growths = (
        f"{name} {verdict.peak_mib[name]:.0f} MiB at most, "
        + ("watched too short to say whether it grows" if growth is None else f"then {growth}")
        for name, growth in verdict.growth.items()
    )
    return [
        "",
        f"{verdict.rows:,} rows sent to each side; {drained}",
        f"{verdict.values:,} values in {verdict.reads:,} reads; {verdict.failed_reads:,} reads failed",
        f"listings of the source: {listings}",
        f"batches: {', '.join(f'{side} {number:,}' for side, number in verdict.batches.items())}",
        *growths,
        *(f"WRONG: {fault}" for fault in verdict.faults[:20]),
        *verdict.last_words,
        f"{len(verdict.faults)} faults" if verdict.faults else "no fault",
    ]
