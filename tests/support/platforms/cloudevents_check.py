"""What the SDK of CloudEvents makes of requests.

``python cloudevents_check.py REQUESTS``: lines of JSON with ``headers`` and ``body``.
"""

# mypy: ignore-errors
import json
import sys
from pathlib import Path

from cloudevents.core.bindings.http import HTTPMessage, from_http_event


def main(path):
    events = []
    for line in Path(path).read_text().splitlines():
        request = json.loads(line)
        event = from_http_event(HTTPMessage(request["headers"], request["body"].encode()))
        events.append({"attributes": event.get_attributes(), "data": event.get_data()})
    print(json.dumps(events, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
