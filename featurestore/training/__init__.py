"""Versions of training sets: what each is made of, its shards, what is in them, and which version is read.

Start at ``training_manifest.py``, which is the format on storage; ``training_versions.py`` says which there are. The data
engine makes them.
"""
