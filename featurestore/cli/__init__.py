"""The command line: kubectl's verbs on one feature store.

``app.py`` is all that ``--help`` shows and imports little, so that it starts fast; each command's work is in the
module of its name. Start reading at ``app.py``.
"""
