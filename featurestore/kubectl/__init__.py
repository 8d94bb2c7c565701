"""``kubectl featurestore``: how the resources of a cluster stand, by what the API server says, without keys of the storage.

It asks by way of kubectl, so that kubeconfig, contexts and logins are kubectl's, and imports the standard library alone
(and modules of ours that do, too): krew installs it as one file. Start reading at ``plugin.py``.
"""
