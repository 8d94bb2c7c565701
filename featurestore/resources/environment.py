"""Variables of a container's environment: said here, or taken from a ConfigMap or a Secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import ObjectName
from featurestore.resources.model import Model
from featurestore.resources.rule import SpecRule, exactly_one

VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
Variable = Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, min_length=1, max_length=253)]
Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z_][A-Za-z0-9_.-]*)?$", max_length=253)]
Key = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]


class KeyRef(Model):
    name: ObjectName = Field(description="Name of the object in the same namespace.")
    key: Key = Field(description="Key in it.")
    optional: bool = Field(False, description="Whether the pod starts without it.")


class FieldRef(Model):
    field_path: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        description="Field of the pod, such as metadata.name."
    )


class EnvSource(Model):
    """Exactly one of the fields is set."""

    config_map_key_ref: KeyRef | None = Field(None, description="Key of a ConfigMap.")
    secret_key_ref: KeyRef | None = Field(None, description="Key of a Secret.")
    field_ref: FieldRef | None = Field(None, description="Field of the pod.")
    rules = (exactly_one("configMapKeyRef", "secretKeyRef", "fieldRef"),)


class EnvVar(Model):
    name: Variable = Field(description="Name of the variable.")
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = Field(
        None, description="Its value. What is secret is taken from a Secret instead."
    )
    value_from: EnvSource | None = Field(None, description="Where its value is taken from.")
    rules = (
        SpecRule(
            message="a variable has value or valueFrom, not both",
            holds=lambda variable: variable.value is None or variable.value_from is None,
            cel="!(has(self.value) && has(self.valueFrom))",
            field="valueFrom",
        ),
    )


class ObjectRef(Model):
    name: ObjectName = Field(description="Name of the object in the same namespace.")
    optional: bool = Field(False, description="Whether the pod starts without it.")


class EnvFrom(Model):
    """All keys of one object as variables."""

    prefix: Prefix = Field("", description="What each variable's name begins with.")
    config_map_ref: ObjectRef | None = Field(None, description="A ConfigMap.")
    secret_ref: ObjectRef | None = Field(None, description="A Secret.")
    rules = (exactly_one("configMapRef", "secretRef"),)
