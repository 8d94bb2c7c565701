"""The controller. It may import ``featurestore``, and never a data engine, not even indirectly.

Start reading in ``process.py``, which puts the parts together; what is decided is in ``controller.py``.
"""
