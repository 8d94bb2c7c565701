"""A Delta table as a source of arrivals: its commits. Reads the log by itself, without a data engine.

Start reading at :mod:`featurestore.arrivals.delta.delta_source`.
"""
