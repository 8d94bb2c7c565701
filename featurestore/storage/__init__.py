"""The storage root: small objects, credentials, paths, and Delta tables.

Start at ``objects.py`` (small objects), then ``paths.py`` (what stands where) and ``delta.py`` (tables with
exactly-once commits). Imports the resources; only ``delta.py`` and ``row_groups.py`` load a data engine.
"""
