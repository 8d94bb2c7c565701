"""``featurestore``, and ``python -m featurestore.cli``."""

from __future__ import annotations

import sys

from featurestore.cli.app import app, settings
from featurestore.errors import FeatureStoreError


def main() -> None:
    """Run the command line; end with the exit code that the error, if any, carries."""
    try:
        app(prog_name="featurestore")
    except FeatureStoreError as error:
        if settings.debug:
            raise
        from featurestore.cli.trouble import print_error

        print_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
