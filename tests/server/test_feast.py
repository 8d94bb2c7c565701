"""``POST /get-online-features``: Feast's own client reads from this server unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from feast_environment import feast_python
from feature_server import FeatureServer

SUPPORT = Path(__file__).parents[1] / "support"
EVENT, NEVER = "2026-01-02T03:04:05.678901Z", "1970-01-01T00:00:00Z"
RECORDED = (
    '{"entities": {"tailnum": ["N1", "N2", "N9", "E3"]}, "full_feature_names": false, '
    '"include_feature_view_version_metadata": false, "features": ["aircraft_delays:delay", '
    '"aircraft_delays:ratio", "aircraft_delays:note", "aircraft_delays:late", "aircraft_delays:seen"]}'
)
"""What the client of Feast 0.67 sent."""


def test_what_feasts_client_sends_is_answered_as_feasts_server_answers(server: FeatureServer) -> None:
    answer = server.ask("POST", "/get-online-features", RECORDED.encode()).json
    there, not_there = ["PRESENT", "NULL_VALUE", "NOT_FOUND", "PRESENT"], [EVENT, EVENT, NEVER, EVENT]
    assert answer == {
        "metadata": {"feature_names": ["tailnum", "delay", "ratio", "note", "late", "seen"]},
        "results": [
            {
                "values": ["N1", "N2", "N9", "E3"],
                "statuses": ["PRESENT"] * 4,
                "event_timestamps": [NEVER] * 4,
            },
            {"values": [2**53 + 1, None, None, 3], "statuses": there, "event_timestamps": not_there},
            {
                "values": [None, None, None, 1.0],
                "statuses": ["NULL_VALUE", "NULL_VALUE", "NOT_FOUND", "PRESENT"],
                "event_timestamps": not_there,
            },
            {"values": ["é\u2028", None, None, "é\u2028"], "statuses": there, "event_timestamps": not_there},
            {"values": [True, None, None, True], "statuses": there, "event_timestamps": not_there},
            {
                "values": [1767323045, None, None, 1767323045],
                "statuses": there,
                "event_timestamps": not_there,
            },
        ],
    }


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"entities": {"tailnum": ["N1"]}, "features": ["aircraft_delays:dely"]}, 404),
        ({"entities": {"tailnum": ["N1"]}, "feature_service": "nothing"}, 404),
        ({"entities": {"tailnum": ["N1"]}}, 422),
        ({"entities": {"tail": ["N1"]}, "features": ["aircraft_delays:delay"]}, 422),
    ],
)
def test_a_wrong_request_is_refused(server: FeatureServer, asked: dict[str, object], status: int) -> None:
    assert server.ask("POST", "/get-online-features", asked).status == status


@pytest.mark.slow
def test_feasts_own_client_reads_the_values(server: FeatureServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [feast_python(), SUPPORT / "feast_client.py", tmp_path, server.url], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = ["N1", "N2", "N9", "E3"]
    assert json.loads(done.stdout) == {
        "answer": {
            "tailnum": names,
            "delay": [2**53 + 1, None, None, 3],
            "ratio": [None, None, None, 1.0],
            "note": ["é\u2028", None, None, "é\u2028"],
            "late": [True, None, None, True],
            "seen": [1767323045, None, None, 1767323045],
        },
        "full": {"tailnum": names, "aircraft_delays__delay": [2**53 + 1, None, None, 3]},
    }
