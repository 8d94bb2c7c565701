"""``featurestore``, and ``python -m featurestore.cli``."""

from __future__ import annotations

import sys

from featurestore.cli.app import app, settings
from featurestore.cli.erase_command import erase
from featurestore.errors import FeatureStoreError, StorageError

app.command()(erase)


def main() -> None:
    """Run the command line; end with the exit code that the error, if any, carries."""
    try:
        app(prog_name="featurestore")
    except Exception as error:
        if settings.debug:
            raise
        from featurestore.cli.trouble import print_error

        failure = _user_error(error)
        print_error(failure)
        sys.exit(failure.exit_code)


def _user_error(error: Exception) -> FeatureStoreError:
    """The error as a message, without a traceback unless ``--debug`` asks for one."""
    if isinstance(error, FeatureStoreError):
        return error
    if isinstance(error, OSError):
        where = str(error.filename or "")
        return StorageError("a file cannot be used", where=where, got=error.strerror or str(error))
    return FeatureStoreError(
        "an unexpected error",
        got=f"{type(error).__name__}: {error}",
        hint="`featurestore --debug …` shows where in the code it comes from",
    )


if __name__ == "__main__":
    main()
