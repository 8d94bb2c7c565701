"""Hints from outside: what object storage posts of its objects, made into URLs to look at.

Start at ``receiver.py``. Nothing here is believed: a hint makes a look at one key happen at once, and a listing finds
what no hint told of.
"""
