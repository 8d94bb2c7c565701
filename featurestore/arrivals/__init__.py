"""What arrives, and the batches that take it.

Start at ``manifest.py`` (one batch), then ``ledger.py`` (all of them) and ``backlog.py`` (what waits).
Loads no data engine.
"""
