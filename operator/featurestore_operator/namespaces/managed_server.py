"""A feature server, kept beside its FeatureStore: Service, Deployment, autoscaler, budget, NetworkPolicy, ServiceAccount.

A server that is replaced loses no request: a new pod is ready before an old one is told to end, and that one answers on
until nobody sends it anything.
"""

from __future__ import annotations

from typing import Any

from featurestore.digest import digest
from featurestore.resources import FeatureStore
from featurestore.resources.serving import EVERYWHERE, AuditOutput, Serving, ServingAuth, ServingPush
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.jobs.restricted_pod import ingress_policy, pod_and_container, secrets_of
from featurestore_operator.kube.api_resources import MANAGED

PORT = 6566
CONTAINER = "server"
APP = "featurestore-server"
REQUESTS_METRIC = "feature_requests_per_second"
_CPU_PERCENT = 70
_DRAIN_S = 10
"""How long an old pod answers on after it is told to end: until all nodes know that it is not there any more."""
_REQUEST_S = 10
"""How long a request may take that the pod has begun to answer."""
_GRACE_S = _DRAIN_S + _REQUEST_S + 10
_TLS, _TOKENS = "/featurestore/tls", "/featurestore/tokens"


def name_of(store: str) -> str:
    return f"{store}-server"


def account_of(store: str, serving: Serving) -> str:
    """The ServiceAccount that asks the API server who may read."""
    return serving.template.service_account_name or name_of(store)


def url_of(store: str, namespace: str, serving: Serving) -> str:
    """Where the servers of a store answer in the cluster."""
    return f"{_scheme(serving).lower()}://{name_of(store)}.{namespace}.svc:{PORT}"


def server_objects(
    store: FeatureStore,
    serving: Serving,
    owner: dict[str, Any],
    place: JobContext,
    secret_versions: list[str],
) -> list[dict[str, Any]]:
    """What is applied. The Service is the first: whoever finds it knows that there may be the others.

    ``store``: as clients see it. ``secret_versions``: of the Secrets with its credentials: pods read them when they start.
    """
    name = name_of(store.metadata.name)
    labels = {**MANAGED, "app.kubernetes.io/name": APP, "app.kubernetes.io/instance": store.metadata.name}
    metadata = {"name": name, "namespace": place.namespace, "labels": labels, "ownerReferences": [owner]}
    selector = {"matchLabels": labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": labels,
                "ports": [{"name": _scheme(serving).lower(), "port": PORT, "targetPort": PORT}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        ingress_policy(metadata, selector, _clients(serving), PORT),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": selector},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            # How many there are is the autoscaler's to say.
            "spec": {
                "selector": selector,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
                },
                "template": {
                    "metadata": {
                        "labels": {**serving.template.labels, **labels},
                        "annotations": {
                            **serving.template.annotations,
                            "featurestore.dev/opens": _opened(store, secret_versions),
                        },
                    },
                    "spec": _pod(store, serving, place, selector),
                },
            },
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": serving.replicas.min,
                "maxReplicas": serving.replicas.max,
                "metrics": _metrics(serving),
            },
        },
    ]


def _opened(store: FeatureStore, secret_versions: list[str]) -> str:
    """Names what a server opens when it starts: another place or other credentials make another pod."""
    spec = store.spec.model_dump(mode="json", include={"offline", "online"})
    return digest([spec, secret_versions])


def _metrics(serving: Serving) -> list[dict[str, Any]]:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _CPU_PERCENT}}
    metrics: list[dict[str, Any]] = [{"type": "Resource", "resource": cpu}]
    if serving.replicas.requests_per_second is not None:
        target = {"type": "AverageValue", "averageValue": str(serving.replicas.requests_per_second)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": REQUESTS_METRIC}, "target": target}})
    return metrics


def _clients(serving: Serving) -> dict[str, Any]:
    if EVERYWHERE in serving.client_namespaces:
        return {}
    others = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        for namespace in serving.client_namespaces
    ]
    return {"from": [{"podSelector": {}}, *others]}


def _pod(
    store: FeatureStore, serving: Serving, place: JobContext, selector: dict[str, Any]
) -> dict[str, Any]:
    pod, container = pod_and_container(serving.template, CONTAINER, place.image, name_of(store.metadata.name))
    files = {
        "tls": (serving.tls_secret_ref, _TLS),
        "tokens": (serving.token_secret_ref, _TOKENS),
    }
    mounted = {name: (ref.name, path) for name, (ref, path) in files.items() if ref is not None}
    volumes = [{"name": name, "secret": {"secretName": secret}} for name, (secret, _) in mounted.items()]
    mounts = [{"name": name, "mountPath": path, "readOnly": True} for name, (_, path) in mounted.items()]
    own = {
        "command": ["python", "-m", "featurestore.cli"],
        "args": ["serve", *_arguments(serving)],
        "env": [*container["env"], {"name": "FEATURESTORE_URI", "value": place.root}],
        "envFrom": [*secrets_of(place.secret, place.online_secret), *container["envFrom"]],
        "ports": [{"name": "features", "containerPort": PORT}],
        # Opening a store takes a slow machine a while; a server that hangs later is started again.
        "startupProbe": {**_probe("/healthz", serving), "periodSeconds": 1, "failureThreshold": 300},
        "livenessProbe": {**_probe("/healthz", serving), "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**_probe("/readyz", serving), "periodSeconds": 2, "failureThreshold": 3},
        "resources": {
            "requests": {"memory": str(serving.memory), **container["resources"]["requests"]},
            "limits": {"memory": str(serving.memory)},
        },
        "volumeMounts": [*container["volumeMounts"], *mounts],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
    }
    return {
        **pod,
        # Who may read is asked with the pod's own token.
        "automountServiceAccountToken": serving.auth is ServingAuth.KUBERNETES,
        "terminationGracePeriodSeconds": _GRACE_S,
        "topologySpreadConstraints": [spread],
        "volumes": [*pod["volumes"], *volumes],
        "containers": [{**container, **own}],
    }


def _arguments(serving: Serving) -> list[str]:
    arguments = ["--host=0.0.0.0", f"--port={PORT}", f"--timeout={_REQUEST_S}", f"--drain={_DRAIN_S}"]
    arguments.append(f"--auth={serving.auth.lower()}")
    if serving.token_secret_ref is not None:
        arguments.append(f"--token-file={_TOKENS}/tokens")
    if serving.oidc is not None:
        arguments += [f"--oidc-issuer={serving.oidc.issuer}", f"--oidc-audience={serving.oidc.audience}"]
        arguments += [f"--oidc-group={group}" for group in serving.oidc.groups]
        arguments.append(f"--oidc-groups-claim={serving.oidc.groups_claim}")
    if serving.tls_secret_ref is not None:
        arguments += [f"--tls-cert={_TLS}/tls.crt", f"--tls-key={_TLS}/tls.key"]
    if serving.audit_log is AuditOutput.STDOUT:
        arguments.append("--audit-log=-")
    if serving.push is ServingPush.ENABLED:
        arguments.append("--push")
    return arguments


def _probe(path: str, serving: Serving) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT, "scheme": _scheme(serving)}, "timeoutSeconds": 5}


def _scheme(serving: Serving) -> str:
    return "HTTP" if serving.tls_secret_ref is None else "HTTPS"
