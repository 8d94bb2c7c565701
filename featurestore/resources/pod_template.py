"""What pods of Jobs and servers are like in a cluster: a checked part of Kubernetes' PodSpec. Without effect on a laptop.

Containers, commands, users, host namespaces and privileges are not in it: those are the operator's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.environment import EnvFrom, EnvVar
from featurestore.resources.freeform import Freeform
from featurestore.resources.metadata import LabelName, ObjectName
from featurestore.resources.model import Model
from featurestore.resources.quantity import Cpu
from featurestore.resources.rule import SpecRule, Unique
from featurestore.resources.volume import Volume, VolumeMount

IMAGE_PATTERN = r"^[^\s]+$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
Image = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN, min_length=1, max_length=1024)]
LabelValue = Annotated[str, StringConstraints(pattern=LABEL_VALUE_PATTERN, max_length=63)]
OPERATORS_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/managed-by")


class ImagePullPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class PullSecret(Model):
    name: ObjectName = Field(description="Name of a Secret in the same namespace.")


class TolerationOperator(StrEnum):
    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    key: Annotated[str, StringConstraints(max_length=317)] | None = Field(
        None, description="Key of the taint. Default: all."
    )
    operator: TolerationOperator | None = Field(
        None, description="How the value is compared. Default: Equal."
    )
    value: LabelValue | None = Field(None, description="Value of the taint.")
    effect: TaintEffect | None = Field(None, description="Effect of the taint. Default: all.")
    toleration_seconds: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        None, description="How long NoExecute is tolerated. Default: for ever."
    )


QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Names the queue of Kueue that lets a Job start."""


def _ours(label: str) -> bool:
    return label.startswith("featurestore.dev/") or label in OPERATORS_LABELS


def _dangling(template: PodTemplate) -> bool:
    return bool(
        {mount.name for mount in template.volume_mounts} - {volume.name for volume in template.volumes}
    )


class PodTemplate(Model):
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=64)] = Field(
        {},
        description="Labels of the pod, and of what makes it. kueue.x-k8s.io/queue-name lets Kueue start it.",
    )
    annotations: Annotated[
        dict[LabelName, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=64)
    ] = Field({}, description="Annotations of the pod.")
    image: Image | None = Field(None, description="Image with your own code. Default: the operator's choice.")
    image_pull_policy: ImagePullPolicy | None = Field(
        None,
        description="When the image is pulled. Default: Always with the tag latest or none, else IfNotPresent.",
    )
    image_pull_secrets: Annotated[tuple[PullSecret, ...], Unique("name")] = Field(
        (), max_length=16, description="Secrets for the image's registry."
    )
    service_account_name: ObjectName | None = Field(
        None, description="Account of the pod. A Job has no token of it."
    )
    node_selector: Annotated[dict[LabelName, LabelValue], Field(max_length=32)] = Field(
        {}, description="Labels of the nodes that it may run on."
    )
    tolerations: tuple[Toleration, ...] = Field((), max_length=32, description="Taints that it tolerates.")
    affinity: Freeform | None = Field(
        None, description="Which nodes it runs on, and beside or apart from which pods."
    )
    priority_class_name: ObjectName | None = Field(None, description="PriorityClass of the pod.")
    env: Annotated[tuple[EnvVar, ...], Unique("name")] = Field(
        (), max_length=64, description="Variables of its environment."
    )
    env_from: tuple[EnvFrom, ...] = Field(
        (), max_length=16, description="ConfigMaps and Secrets that are variables as a whole."
    )
    volumes: Annotated[tuple[Volume, ...], Unique("name")] = Field(
        (), max_length=16, description="Volumes of the pod."
    )
    volume_mounts: Annotated[tuple[VolumeMount, ...], Unique("mount_path")] = Field(
        (), max_length=32, description="Where the volumes are in the container."
    )
    cpu: Cpu | None = Field(None, description="CPUs that the pod asks for, such as 500m or 2. Default: 500m.")
    rules = (
        SpecRule(
            message="labels that begin with featurestore.dev/, app.kubernetes.io/name and "
            "app.kubernetes.io/managed-by are set by the operator",
            holds=lambda template: not any(map(_ours, template.labels)),
            cel="!has(self.labels) || self.labels.all(l, !l.startsWith('featurestore.dev/') && "
            f"!(l in {list(OPERATORS_LABELS)}))",
            field="labels",
        ),
        SpecRule(
            message="each of volumeMounts names one of volumes",
            holds=lambda template: not _dangling(template),
            cel="!has(self.volumeMounts) || self.volumeMounts.all(m, "
            "has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            field="volumeMounts",
        ),
    )
