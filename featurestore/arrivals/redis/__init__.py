"""A stream of Redis as a source of arrivals: ranges of its ids. Loads its client when it first asks.

Start reading at :mod:`featurestore.arrivals.redis.redis_source`.
"""
