"""One request, or many: ``python -m featurestore_transforms --request JSON``, ``--serve``, ``--job JSON`` or ``--worker ROOT``.

``--serve`` reads requests from standard input, a line each, and ends with it. ``--request`` ends with the exit code
of the request's error, 0 if there was none. ``--job`` is what a pod runs: see ``entrypoint/pod.py``.
``--worker`` is what a pod runs that takes one batch after the other: see ``entrypoint/batch_worker.py``.
"""

from __future__ import annotations

import argparse
import sys

from featurestore_transforms.entrypoint import batch_worker, pod
from featurestore_transforms.entrypoint.serve import answer, own_stdout, serve
from featurestore_transforms.entrypoint.supervisor import end_now


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featurestore_transforms", description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--serve", action="store_true", help="answer requests from standard input")
    how.add_argument("--request", metavar="JSON", help="answer this request")
    how.add_argument("--job", metavar="JSON", help="do this Job")
    how.add_argument("--worker", metavar="ROOT", help="run batches of the pipelines of this storage root")
    parser.add_argument("--kind", default="", help="of --worker: which pipelines it can run batches of")
    chosen = parser.parse_args(arguments)
    if chosen.worker is not None:
        batch_worker.main(chosen.worker, chosen.kind)
        return 0
    with own_stdout() as answers:
        if chosen.job is not None:
            end_now(pod.main(chosen.job, answers))
        if chosen.serve:
            serve(sys.stdin, answers)
            return 0
        return answer(chosen.request, answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
