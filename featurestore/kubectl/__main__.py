"""``kubectl-featurestore``, which kubectl finds as ``kubectl featurestore``."""

from __future__ import annotations

import os
import sys

from featurestore.kubectl.plugin import run
from featurestore.timestamps import current_us


def main() -> None:
    """Print what is asked for; end with 0, or with the exit code of what is wrong."""
    try:
        code = run(sys.argv[1:], current_us())
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as by ``| head``; the interpreter would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
