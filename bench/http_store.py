"""Reads features of a feature server, as a store is read."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore.errors import TransientError


@dataclass(frozen=True, slots=True)
class HttpValues:
    """Column of each feature, in the order of the entities."""

    columns: Mapping[str, Sequence[Any]]

    def to_dict(self) -> Mapping[str, Sequence[Any]]:
        return self.columns


@dataclass(frozen=True, slots=True)
class HttpStore:
    """``server``: a :class:`feature_server.FeatureServer` of the tests."""

    server: Any

    def get_features(self, features: list[str], entities: list[dict[str, str]], /) -> HttpValues:
        """The features of these entities.

        Raises:
            TransientError: no answer came, or one that is not 200.
        """
        columns = {name: [entity[name] for entity in entities] for name in entities[0]}
        try:
            answer = self.server.ask("POST", "/v1/features", {"features": features, "entities": columns})
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(
                "the feature server does not answer", where=self.server.url, got=str(error)
            ) from error
        if answer.status != http.HTTPStatus.OK:
            body = json.dumps(answer.body.decode(errors="replace"))
            raise TransientError(
                "the feature server has no values", where=self.server.url, got=f"{answer.status}: {body}"
            )
        return HttpValues(answer.json["features"])
