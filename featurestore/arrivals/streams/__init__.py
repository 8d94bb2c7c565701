"""What all streams as sources share: what is new of each partition is a position, from where the last one ended.

Start reading at :mod:`featurestore.arrivals.streams.stream_source`.
"""
