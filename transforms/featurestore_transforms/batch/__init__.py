"""One batch: the arrivals of a manifest in, one commit of the dataset out.

Start at ``batch.py``.
"""
