"""How the API server is reached: as a pod of the cluster, or by a kubeconfig."""

from __future__ import annotations

from pathlib import Path

from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.config.incluster_config import SERVICE_TOKEN_FILENAME

from featurestore.errors import SpecError

OWN_NAMESPACE = Path(SERVICE_TOKEN_FILENAME).with_name("namespace")


def configuration(kubeconfig: str | None) -> Configuration:
    """Address and credentials of the API server. ``kubeconfig`` (``$KUBECONFIG``) goes first.

    Raises:
        SpecError: there are none, or they cannot be read.
    """
    config = Configuration()
    try:
        if kubeconfig is not None:
            load_kube_config(kubeconfig, client_configuration=config)  # type: ignore[no-untyped-call]
        elif Path(SERVICE_TOKEN_FILENAME).exists():
            load_incluster_config(client_configuration=config)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(client_configuration=config)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SpecError(
            "the API server cannot be reached",
            where=kubeconfig or "~/.kube/config",
            wanted="a service account in a pod, or a kubeconfig",
            got=str(error),
            hint="Set KUBECONFIG",
        ) from error
    # A failed request is told at once: the queue retries, and knows how often.
    config.retries = False
    return config


def authorization(config: Configuration) -> str | None:
    """The header of that name, with a token that is renewed when it must be; None: by certificate."""
    for name in ("authorization", "BearerToken"):
        if value := config.get_api_key_with_prefix(name):
            return str(value)
    return None


def own_namespace(default: str) -> str:
    """The namespace that this pod is in, or ``default`` outside of pods."""
    return OWN_NAMESPACE.read_text().strip() if OWN_NAMESPACE.exists() else default
