"""Volumes that a Job's pod may mount: those that Kubernetes' restricted Pod Security allows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic.alias_generators import to_snake

from featurestore.resources.freeform import Freeform
from featurestore.resources.metadata import Name
from featurestore.resources.model import Model
from featurestore.resources.rule import SpecRule

SOURCES = (
    *("configMap", "secret", "emptyDir", "persistentVolumeClaim"),
    *("projected", "downwardAPI", "csi", "ephemeral"),
)
"""Kinds of volumes, as a PodSpec names them."""

MOUNT_PATTERN = r"^/[^:\n]*$"
_NAMES = [to_snake(source) for source in SOURCES]


class Volume(Model):
    """A name, and one of the kinds."""

    name: Name = Field(description="Name that mounts refer to.")
    config_map: Freeform | None = Field(None, description="Files from a ConfigMap.")
    secret: Freeform | None = Field(None, description="Files from a Secret.")
    empty_dir: Freeform | None = Field(None, description="An empty folder that ends with the pod.")
    persistent_volume_claim: Freeform | None = Field(None, description="A claim in the same namespace.")
    projected: Freeform | None = Field(None, description="Several sources in one folder.")
    downward_api: Freeform | None = Field(
        None, alias="downwardAPI", description="Files with fields of the pod."
    )
    csi: Freeform | None = Field(None, description="A volume of a CSI driver.")
    ephemeral: Freeform | None = Field(None, description="A claim that is made for the pod and ends with it.")
    host_path: Freeform | None = Field(None, description="Refused: a Job does not touch its node.")
    rules = (
        SpecRule(
            message="a Job does not touch the files of its node: hostPath is refused",
            holds=lambda volume: volume.host_path is None,
            cel="!has(self.hostPath)",
            field="hostPath",
        ),
        SpecRule(
            message=f"a volume is one of {', '.join(SOURCES[:-1])} and {SOURCES[-1]}",
            holds=lambda volume: (
                volume.host_path is not None or sum(getattr(volume, name) is not None for name in _NAMES) == 1
            ),
            cel=f"has(self.hostPath) || [{', '.join(f'has(self.{name})' for name in SOURCES)}]"
            ".filter(x, x).size() == 1",
        ),
    )


class VolumeMount(Model):
    name: Name = Field(description="Name of the volume.")
    mount_path: Annotated[str, StringConstraints(pattern=MOUNT_PATTERN, max_length=1024)] = Field(
        description="Where it is in the container: an absolute path."
    )
    sub_path: Annotated[str, StringConstraints(max_length=1024)] | None = Field(
        None, description="Path inside the volume. Default: its root."
    )
    read_only: bool = Field(False, description="Whether the container may only read it.")
