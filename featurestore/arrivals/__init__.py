"""What arrives, and the batches that take it.

Start at ``manifest.py`` (one batch), then ``ledger.py`` (all of them) and ``backlog.py`` (what waits). What is asked
of a source says ``source.py``; ``files/`` answers. Loads no data engine.
"""
