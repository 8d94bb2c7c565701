"""How the engine is run: as a Job's process, or as a worker that answers JSON lines.

Start at ``pod.py`` (a Job) and ``serve.py`` (a worker).
"""
