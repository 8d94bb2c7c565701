"""Resources that say how they stand: their conditions, read and waited for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from eventually import eventually

Object = dict[str, Any]


class Speaking(ABC):
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
    ) -> Object:
        """The condition, once it has this reason and these words."""
        said: Object = {}

        def holds() -> bool:
            nonlocal said
            said = self.condition(kind, name, type_)
            return said.get("reason") == reason and all(it in said["message"] for it in words)

        eventually(holds, within_s or self.patience_s, self.told)
        return said
