"""Lightweight components. Their bodies run in pods by themselves, so they import what they need.

The room cannot be imported there: kfp has no decorators in a pod. Annotations are read by kfp, and so are not deferred here.
"""

# mypy: disable-error-code="untyped-decorator,valid-type"
from typing import Any, NamedTuple

from kfp import dsl

IMAGE = "featurestore-kubeflow"
"""With this package and kfp. ``task.set_container_image(…)`` names another one."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def training_set(
    store: str,
    name: str,
    data: dsl.Output[dsl.Dataset],
    view: str = "",
    commit: int = -1,
    timeout_s: float = 3600.0,
) -> str:
    """The digest of the newest version of a training set, and the version as an artifact.

    ``view`` and ``commit``, as wait_fresh gives it: the version was made of at least that commit of the view, which is waited
    for. Inputs decide what is taken from the cache: so another commit is another step. The artifact is the manifest; its
    metadata say store, trainingSet, version, digest and rows, by which a step reads the rows where they are.
    """
    from pathlib import Path

    from featurestore.client.awaiting import await_version

    version = await_version(store, name, view, commit, timeout_s)
    Path(data.path).write_bytes(version.manifest.to_bytes())
    data.metadata.update(
        store=version.store,
        trainingSet=version.name,
        version=version.number,
        digest=version.digest,
        rows=version.manifest.rows,
    )
    return version.digest


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def _wait_fresh(store: str, view: str, until: str = "", timeout_s: float = 3600.0) -> NamedTuple(
    "Fresh", [("commit", int), ("watermark", str)]
):
    from featurestore.client.awaiting import await_fresh

    return await_fresh(store, view, until, timeout_s)


def wait_fresh(**arguments: Any) -> Any:
    """A step that ends when a view has all of its dataset, or an event time ``until``; never taken from the cache.

    ``store``, ``view``, ``until``, ``timeout_s``. Outputs ``commit``, of the dataset, and ``watermark``.
    """
    task = _wait_fresh(**arguments)
    task.set_display_name("wait-fresh")
    task.set_caching_options(False)
    return task
