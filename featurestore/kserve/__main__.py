"""``python -m featurestore.kserve --features delay-model --model_name delays --predictor_host …``: the server of a transformer.

Besides KServe's own arguments: ``--features`` (a service, or features; again for more), ``--columns`` (what the predictor
gets, in its order), ``--fill NAME=VALUE`` (as JSON, for values that are not there). ``FEATURESTORE_URI`` names the store.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from kserve import ModelServer, logging, model_server

from featurestore.errors import FeatureStoreError
from featurestore.kserve.transformer import FeatureTransformer


def _filled(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"wanted NAME=VALUE with a value in JSON, got {text!r}") from error


def main() -> int:
    """Serve until the process is ended; the exit code of an error."""
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--features", action="append", required=True, help="A service, or features of views.")
    parser.add_argument("--columns", action="append", help="What the predictor gets, in its order.")
    parser.add_argument("--fill", action="append", type=_filled, default=[], metavar="NAME=VALUE")
    arguments, _ = parser.parse_known_args()
    if arguments.configure_logging:
        logging.configure_logging(arguments.log_config_file)
    transformer = FeatureTransformer(
        arguments.model_name, arguments.features, columns=arguments.columns, fill=dict(arguments.fill)
    )
    try:
        transformer.load()
    except FeatureStoreError as error:
        print(f"featurestore.kserve: {error}", file=sys.stderr)
        return error.exit_code
    ModelServer().start([transformer])
    return 0


if __name__ == "__main__":
    sys.exit(main())
