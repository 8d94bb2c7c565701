"""A topic of Kafka as a source of arrivals: positions in its partitions. Loads its client when it first asks.

Start reading at :mod:`featurestore.arrivals.kafka.kafka_source`.
"""
