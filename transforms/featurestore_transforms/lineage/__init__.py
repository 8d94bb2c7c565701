"""OpenLineage: what was read and written by each batch, build and training set, told to whoever collects that.

Uses ``featurestore`` alone, and no client of OpenLineage. Start reading at ``emitter.py``.
"""
