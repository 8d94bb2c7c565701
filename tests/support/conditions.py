"""Resources that say how they stand: their conditions, read and waited for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from eventually import eventually

Object = dict[str, Any]


class ReportsConditions(ABC):
    """The resources of a namespace. ``patience_s``: so long is waited for what they are to say."""

    patience_s: ClassVar[float] = 60.0

    @abstractmethod
    def get(self, kind: str, name: str) -> Object:
        """The object as it is now."""

    @abstractmethod
    def told(self) -> str:
        """All that is known, for people who look for why it is not as wanted."""

    def condition(self, kind: str, name: str, type_: str = "Ready") -> Object:
        """{} if it does not say."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((it for it in conditions if it["type"] == type_), {})

    def until(
        self,
        kind: str,
        name: str,
        reason: str,
        type_: str = "Ready",
        words: Sequence[str] = (),
        within_s: float | None = None,
        **facts: object,
    ) -> Object:
        """The condition, once it has this reason and these words, about the spec as it is now.

        ``facts``: fields of the same status and their values. Name one that is new wherever an older status may
        have had the same reason: after a second file, ``rows=3``.
        """
        condition: Object = {}

        def holds() -> bool:
            nonlocal condition
            item = self.get(kind, name)
            status = item.get("status", {})
            condition = next((it for it in status.get("conditions", ()) if it["type"] == type_), {})
            return (
                status.get("observedGeneration") == item["metadata"]["generation"]
                and condition.get("reason") == reason
                and all(it in condition["message"] for it in words)
                and all(status.get(field) == value for field, value in facts.items())
            )

        eventually(holds, within_s or self.patience_s, self.told)
        return condition
