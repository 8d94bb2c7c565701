"""The kinds that the operator reads and writes, and where the API server has them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from featurestore.resources.kinds import API_VERSION, KINDS, POLICY


class ApiResource(NamedTuple):
    """A kind that is in namespaces.

    >>> JOB.path("prod", "flights-1", "status")
    '/apis/batch/v1/namespaces/prod/jobs/flights-1/status'
    >>> POD.path(None)
    '/api/v1/pods'
    """

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Path of the object; without a name, of all in the namespace; without a namespace, of all."""
        root = "/apis" if "/" in self.api_version else "/api"
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        parts = (f"/{quote(part, safe='')}" for part in (name, subresource) if part)
        return f"{root}/{self.api_version}{where}/{self.plural}{''.join(parts)}"


OURS = {kind.name: ApiResource(API_VERSION, kind.name, kind.plural) for kind in KINDS.values()}
"""The kinds of the table, by name."""
FEATURE_STORE, DATA_PIPELINE, FEATURE_VIEW = (
    OURS[kind] for kind in ("FeatureStore", "DataPipeline", "FeatureView")
)
JOB = ApiResource("batch/v1", "Job", "jobs")
POD = ApiResource("v1", "Pod", "pods")
SECRET = ApiResource("v1", "Secret", "secrets")
CONFIG_MAP = ApiResource("v1", "ConfigMap", "configmaps")
SERVICE = ApiResource("v1", "Service", "services")
SERVICE_ACCOUNT = ApiResource("v1", "ServiceAccount", "serviceaccounts")
STATEFUL_SET = ApiResource("apps/v1", "StatefulSet", "statefulsets")
DEPLOYMENT = ApiResource("apps/v1", "Deployment", "deployments")
HORIZONTAL_POD_AUTOSCALER = ApiResource(
    "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
)
POD_DISRUPTION_BUDGET = ApiResource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASE = ApiResource("coordination.k8s.io/v1", "Lease", "leases")
EVENT = ApiResource("v1", "Event", "events")
WEBHOOK_CONFIGURATION = ApiResource(
    "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"
)
NAMESPACE = ApiResource("v1", "Namespace", "namespaces")
FEATURE_STORE_POLICY = ApiResource(API_VERSION, POLICY.name, POLICY.plural)
TOKEN_REVIEW = ApiResource("authentication.k8s.io/v1", "TokenReview", "tokenreviews")
SUBJECT_ACCESS_REVIEW = ApiResource("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")
CLUSTER_ROLE_BINDING = ApiResource(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"
)
"""These six kinds are in no namespace."""
NETWORK_POLICY = ApiResource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")

MANAGED = {"app.kubernetes.io/managed-by": "featurestore"}
PIPELINE_LABEL, VIEW_LABEL = (KINDS[kind].label for kind in ("DataPipeline", "FeatureView"))
"""On Jobs and their pods: whose work they do."""
WORKERS_LABEL = "featurestore.dev/workers"
"""On workers that stay and their pods: of which pipelines they run batches."""
WATCHED: dict[ApiResource, dict[str, str]] = {
    **{resource: {} for resource in OURS.values()},
    JOB: MANAGED,
    POD: MANAGED,
}
"""What the operator keeps a copy of: those with these labels."""
