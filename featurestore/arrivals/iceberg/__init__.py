"""An Iceberg table as a source of arrivals: its snapshots. Reads the table's metadata by itself, without a data engine.

Start reading at :mod:`featurestore.arrivals.iceberg.iceberg_source`.
"""
