"""Data files of Delta tables: written, rewritten, read in pieces, compared between versions.

Start at ``data_files.py``.
"""
