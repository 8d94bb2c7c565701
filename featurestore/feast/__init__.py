"""A Feast repository becomes our resources, and remarks on what does not.

``repository_reader.py`` runs in the interpreter that has Feast and writes as JSON what the repository defines; nothing
else here needs Feast. ``repository.py`` starts it, and has what it writes. ``translation.py`` is a function from that to
resources and remarks: start reading there. The room may use ``resources``; only the command line uses it.
"""
