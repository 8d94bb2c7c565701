"""What is applied again is unchanged: GitOps tools see no drift in what the server and the operator made of it."""

from __future__ import annotations

import manifest
from cluster.control_plane import ControlPlane


def test_the_same_files_applied_again_are_unchanged(control_plane: ControlPlane, namespace: str) -> None:
    store, pipeline, view = (
        manifest.store(namespace),
        manifest.pipeline(namespace, "p"),
        manifest.view(namespace, "v", "p"),
    )
    pipeline["spec"] |= {
        "transforms": [
            {"sort": {"by": [{"column": "a"}]}},
            {"deduplicate": {"keys": ["a"], "orderBy": {"column": "b"}}},
        ],
        "expectations": [{"name": "e", "that": "a > 1"}],
        "job": {
            "template": {
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
                ],
                "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "s"}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }
        },
    }
    text = manifest.text(store, pipeline, view)
    first = control_plane.kubectl("apply", "-f", "-", stdin=text)
    assert first.count("created") == 3
    again = control_plane.kubectl("apply", "-f", "-", stdin=text)
    assert again.count("unchanged") == 3, again
    on_server = [
        control_plane.kubectl(
            "apply", "--server-side", "--field-manager=gitops", "-f", "-", "-o", "json", stdin=text
        )
        for _ in range(2)
    ]
    assert on_server[0] == on_server[1]
