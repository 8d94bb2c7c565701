"""Features over HTTP: an ASGI application, its routes, and the processes that run it.

A route (``routes/``) is a function of what the client answers. It may import the client and what stands below it.
Start at ``application.py``; ``worker_process.py`` runs it, ``worker_pool.py`` several of it.
"""
