"""What sources that are tables have in common, whatever writes down their commits.

Start reading at :mod:`featurestore.arrivals.tables.table_source`.
"""
