"""Erasing what is held of some keys: what it is about, and the signed record of what was done.

Start at ``coverage.py``. How it is kept that keys were erased: :mod:`featurestore.arrivals.erasure`. The data engine does
the work.
"""
