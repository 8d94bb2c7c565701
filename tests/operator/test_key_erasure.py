"""An Erasure in a cluster: a Job erases the keys and signs, as often as it takes; the status tells, and no key of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from cluster_story import RESOURCES, Story, story
from eventually import eventually

from featurestore.erasure.record import require_record, verify
from featurestore.storage.objects import Storage
from featurestore_operator.jobs.job_manifest import CONTAINER
from featurestore_operator.kube.api_resources import EVENT, OURS, POD

pytestmark = pytest.mark.slow
ROWS = {"k": ["secret-a", "b"], "ts": ["2024-01-01T00:00:00", "2024-01-01T01:00:00"], "v": [1, 2]}
MORE = {"k": ["secret-a", "c"], "ts": ["2024-01-02T00:00:00", "2024-01-02T01:00:00"], "v": [3, 4]}


@pytest.fixture
def it(
    controllers: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Story]:
    monkeypatch.setitem(RESOURCES, "erasure", OURS["Erasure"])
    with story(controllers, namespace, tmp_path) as told:
        yield told


def online(it: Story) -> list[object]:
    entities = [{"k": "secret-a"}, {"k": "b"}, {"k": "c"}]
    found: list[object] = it.reader().get_features(["things:v"], entities).to_dict()["v"]
    return found


def test_an_erasure_is_done_once_its_file_is_there_and_its_keys_stay_away(it: Story) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    it.start()
    it.drop("1.parquet", ROWS)
    it.until("featureview", "things", "UpToDate", rows=2)
    file = it.folder / "gone.csv"
    erasure = it._of("Erasure", "request-17", {"entity": "thing", "keys": {"uri": str(file)}})
    it.apply(erasure)
    it.until("erasure", "request-17", "Failed", words=["there is no such file"], within_s=120)
    file.write_text("k\nsecret-a\n")
    it.plane.kubectl("annotate", "erasure", "request-17", "featurestore.dev/retry=there", "-n", it.namespace)
    it.until("erasure", "request-17", "UpToDate", within_s=180, keys=1, number=1)
    status = it.get("erasure", "request-17")["status"]
    storage = Storage(it.root)
    record = require_record(storage, 1)
    verify(record, storage, {})
    assert (status["signature"], status["keyId"]) == (record.signature, record.key_id)
    assert status["rows"] == sum(table.rows for table in record.tables) > 0
    assert record.asked_by == f"Erasure {it.namespace}/request-17"
    eventually(lambda: online(it) == [None, 2, None])
    it.drop("2.parquet", MORE)
    it.until("featureview", "things", "UpToDate", rows=2)
    eventually(lambda: online(it) == [None, 2, 4])
    told = [*it.api.list(OURS["Erasure"], it.namespace), *it.jobs()]
    assert "secret-a" not in json.dumps(told)


def test_an_erasure_of_nobody_waits_and_one_never_becomes_another(it: Story) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    it.start()
    keys = {"uri": f"{it.folder}/gone.csv"}
    it.apply(it._of("Erasure", "wrong", {"entity": "thng", "keys": keys}))
    it.until("erasure", "wrong", "ResourceMissing", words=["no view has features of this entity", "'thing'"])
    with pytest.raises(KubectlError, match="an erasure stays as it is"):
        it.apply(it._of("Erasure", "wrong", {"entity": "thing", "keys": keys}))


def test_an_erasure_whose_pod_cannot_start_says_so_with_an_event_and_goes_on_when_it_can(it: Story) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    it.start()
    it.until("featureview", "things", "WaitingForData")
    (it.folder / "gone.csv").write_text("k\nsecret-a\n")
    it.node.stuck = True
    it.apply(it._of("Erasure", "stuck", {"entity": "thing", "keys": {"uri": f"{it.folder}/gone.csv"}}))

    def pending() -> list[str]:
        pods = it.api.list(POD, it.namespace)
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Pending"]

    eventually(lambda: len(pending()) == 1, 120, it.told)
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    container = {"name": CONTAINER, "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    named = {"namespace": it.namespace, "name": pending()[0]}
    it.api.apply_status(
        POD, {"metadata": named, "status": {"containerStatuses": [{**container, "state": state}]}}
    )
    words = "ImagePullBackOff: no such image"
    it.until("erasure", "stuck", "CannotStart", words=[words], within_s=120)

    def events() -> dict[str, tuple[str, str]]:
        about = [
            each for each in it.api.list(EVENT, it.namespace) if each["involvedObject"]["name"] == "stuck"
        ]
        return {each["reason"]: (each["type"], each["message"]) for each in about}

    eventually(lambda: "CannotStart" in events(), 60, it.told)
    kind, message = events()["CannotStart"]
    assert kind == "Warning"
    assert words in message
    it.node.resume()
    it.until("erasure", "stuck", "UpToDate", within_s=180, keys=1)
    eventually(lambda: any(each[0] == "Normal" for each in events().values()), 60, it.told)
