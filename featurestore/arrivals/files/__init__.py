"""Files as a source: which there are, and which of them are finished.

Start at ``listing.py``.
"""
