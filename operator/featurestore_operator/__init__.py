"""The controller's place. It may import ``featurestore``, and never a data engine, not even indirectly.

There is no controller yet: a store runs on one machine, by ``featurestore run``.
"""
