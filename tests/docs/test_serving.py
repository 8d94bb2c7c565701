"""The examples of the page on serving are run as written."""

from __future__ import annotations

import json
import re
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from feature_server import serving_features
from readme import Shell

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


@pytest.mark.slow
def test_the_request_of_the_page_gets_the_answer_of_the_page(demo: Shell, tmp_path: Path) -> None:
    [asked] = re.findall(r"^curl -s localhost:6566(\S+) -d '(.*)'$", PAGE, re.MULTILINE)
    [wanted] = re.findall(r'^(\{"rows".*\})$', PAGE, re.MULTILINE)
    with serving_features(demo.folder, tmp_path / "log") as server:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
            connection.request("POST", *asked)
            answer = json.loads(connection.getresponse().read())
        for path in re.findall(r"^\| `GET (/\S+)` \|", PAGE, re.MULTILINE):
            assert server.ask("GET", path).status == 200, path
        text = server.ask("GET", "/metrics").body.decode()
    wanted = json.loads(wanted)
    assert answer.pop("commits").keys() == wanted.pop("commits").keys()
    assert answer == wanted
    for name in re.findall(r"`(featurestore_server_\w+)", PAGE):
        assert name in text, name
