"""The online store in Redis.

Start at ``store.py`` (reading) and ``publication.py`` (writing).
"""
