"""Names of resources and features for names of Feast, each once."""

from __future__ import annotations

import re
from collections.abc import Container

from featurestore.resources.feature_view import RESERVED
from featurestore.resources.value import FEATURE_PATTERN

_LONGEST = 63


class ResourceNames:
    """Names of one kind, as they are given.

    >>> names = ResourceNames()
    >>> names.new("driver_hourly_stats"), names.new("driver-hourly-stats"), names.new("Ümlaut v2!")
    ('driver-hourly-stats', 'driver-hourly-stats-2', 'mlaut-v2')
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, text: str) -> str:
        """A name that no other has."""
        plain = re.sub(r"[^a-z0-9]", "-", text.lower()).strip("-")[:_LONGEST].rstrip("-") or "unnamed"
        name, number = plain, 1
        while name in self._given:
            number += 1
            name = f"{plain[: _LONGEST - 1 - len(str(number))]}-{number}"
        self._given.add(name)
        return name


def feature_name(text: str, given: Container[str]) -> str:
    """The name itself, if a feature can have it; else one like it. ``given``: names that others have, in small letters.

    >>> feature_name("conv_rate", ()), feature_name("7d-mean", ()), feature_name("Rate", {"rate"})
    ('conv_rate', 'f_7d_mean', 'Rate_2')
    """
    plain = text
    if not re.fullmatch(FEATURE_PATTERN, text) or text in RESERVED or len(text) > _LONGEST:
        plain = re.sub(r"[^A-Za-z0-9]", "_", text)
        plain = (
            plain if re.match(r"[A-Za-z]", plain) and text not in RESERVED else f"f_{plain.lstrip('_')}"
        )[:_LONGEST]
    name, number = plain, 1
    while name.lower() in given:
        number += 1
        name = f"{plain[: _LONGEST - 1 - len(str(number))]}_{number}"
    return name
