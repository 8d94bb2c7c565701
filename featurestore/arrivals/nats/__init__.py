"""A stream of NATS JetStream as a source of arrivals: ranges of its sequence numbers. Loads its client when it first asks.

Start reading at :mod:`featurestore.arrivals.nats.nats_source`.
"""
