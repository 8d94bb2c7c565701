"""Rows of a SQL database as a source of arrivals: ranges of a watermark. Loads its client when it first asks.

Start reading at :mod:`featurestore.arrivals.sql.sql_source`.
"""
