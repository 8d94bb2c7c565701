"""A version of a training set: labels in a fixed order, features joined to them, written in shards.

Start at ``make_version.py``. Nothing here may depend on threads, on the machine or on the time: the same digest gives
the same bytes.
"""
