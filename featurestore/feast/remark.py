"""What has to be said of something of Feast, beside the resources."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Remark:
    """``of``: ``FeatureView driver_stats``, as Feast names it. ``left_out``: no resource has anything of it."""

    of: str
    text: str
    left_out: bool


class LeftOut(Exception):
    """Why something of Feast is in no resource."""


@dataclass
class Remarks:
    """Remarks, in the order in which they came up."""

    items: list[Remark] = field(default_factory=list)

    def leave_out(self, kind: str, name: str, why: str) -> None:
        self.items.append(Remark(f"{kind} {name}", why, left_out=True))

    def say(self, kind: str, name: str, text: str) -> None:
        self.items.append(Remark(f"{kind} {name}", text, left_out=False))
