"""What each sender posts, and which objects are meant by it. The messages are as their documentation has them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.arrivals.files.glob import Pattern
from featurestore.arrivals.files.object_url import named
from featurestore.arrivals.notifications.object_events import read_message
from featurestore.errors import RequestError

KEY = "flights/2013 01+ü.csv"
ENCODED = "flights/2013+01%2B%C3%BC.csv"
S3 = Pattern("s3", "raw/flights", ("*.csv",))


def records(key: str, **more: Any) -> dict[str, Any]:
    s3 = {
        "s3SchemaVersion": "1.0",
        "configurationId": "c",
        "bucket": {
            "name": "raw",
            "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
            "arn": "arn:aws:s3:::raw",
        },
        "object": {
            "key": key,
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "sequencer": "0A1B2C3D4E5F678901",
        },
    }
    one = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}
    return {"Records": [one], **more}


AWS = records(ENCODED)
MINIO = records(ENCODED, EventName="s3:ObjectCreated:Put", Key=f"raw/{ENCODED}")
VERSITYGW = records(KEY)
SNS = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": json.dumps(AWS)}
EVENT_BRIDGE = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {
        "version": "0",
        "bucket": {"name": "raw"},
        "object": {"key": KEY, "etag": "e", "sequencer": "1"},
    },
}
RESOURCE = {"kind": "storage#object", "bucket": "raw", "name": KEY, "generation": "1", "size": "3"}
PUB_SUB = {
    "message": {
        "attributes": {"bucketId": "raw", "objectId": KEY, "eventType": "OBJECT_FINALIZE"},
        "data": base64.b64encode(json.dumps(RESOURCE).encode()).decode(),
        "messageId": "1",
    },
    "subscription": "projects/p/subscriptions/s",
}
GCS_CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "google.cloud.storage.object.v1.finalized",
    "source": "//storage.googleapis.com/projects/_/buckets/raw",
    "id": "1",
    "data": RESOURCE,
}
BLOB = {"api": "PutBlob", "eTag": "0x8D4BCC2E4835CD0", "sequencer": "00000000000004420000000000028963"}
BLOB |= {"url": f"https://acme.blob.core.windows.net/raw/{ENCODED.replace('+', '%20', 1)}"}
EVENT_GRID = [{"topic": "/t", "eventType": "Microsoft.Storage.BlobCreated", "id": "1", "data": BLOB}]
AZURE_CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "Microsoft.Storage.BlobCreated",
    "source": "/s",
    "id": "1",
    "data": BLOB,
}


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        pytest.param(AWS, S3, id="aws"),
        pytest.param(MINIO, S3, id="minio"),
        pytest.param(VERSITYGW, S3, id="versitygw"),
        pytest.param(SNS, S3, id="sns"),
        pytest.param(EVENT_BRIDGE, S3, id="event-bridge"),
        pytest.param(PUB_SUB, Pattern("gs", "raw/flights", ("*.csv",)), id="pub-sub"),
        pytest.param(GCS_CLOUD_EVENT, Pattern("gcs", "raw/flights", ("*.csv",)), id="gcs-cloud-event"),
        pytest.param(RESOURCE, Pattern("gs", "raw/flights", ("*.csv",)), id="gcs-binary-cloud-event"),
        pytest.param(EVENT_GRID, Pattern("az", "raw/flights", ("*.csv",)), id="event-grid"),
        pytest.param(
            AZURE_CLOUD_EVENT,
            Pattern("abfss", "raw@acme.dfs.core.windows.net/flights", ("*.csv",)),
            id="azure-cloud-event",
        ),
        pytest.param(
            [{"specversion": "1.0", "data": {"uri": f"s3://raw/{KEY}"}}], S3, id="cloud-event-batch"
        ),
    ],
)
def test_the_object_that_a_sender_means_is_found(message: Any, pattern: Pattern) -> None:
    assert f"{pattern.url(pattern.folder)}/2013 01+ü.csv" in named(
        pattern, read_message(json.dumps(message).encode()).urls
    )


def test_a_key_is_read_as_it_is_and_decoded_for_nothing_says_which_it_is() -> None:
    urls = read_message(json.dumps(records("flights/a+b%20c.csv")).encode()).urls
    assert named(S3, urls) == ["s3://raw/flights/a b c.csv", "s3://raw/flights/a+b%20c.csv"]


@pytest.mark.parametrize(
    "url",
    [
        "s3://other/flights/a.csv",
        "gs://raw/flights/a.csv",
        "s3://raw/other/a.csv",
        "s3://raw/flights/_a.csv",
        "/raw/flights/a.csv",
    ],
)
def test_an_object_that_the_source_does_not_name_is_left_out(url: str) -> None:
    assert named(S3, [url]) == []


def test_event_grid_gets_its_code_back_and_sns_is_not_followed() -> None:
    code = {
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d"},
    }
    assert read_message(json.dumps([code]).encode()).validation == "512d"
    sns = {
        "Type": "SubscriptionConfirmation",
        "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=C",
    }
    assert read_message(json.dumps(sns).encode()).confirm == sns["SubscribeURL"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Notification", "s3://a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Records",
                    "s3",
                    "bucket",
                    "object",
                    "key",
                    "name",
                    "data",
                    "message",
                    "attributes",
                    "bucketId",
                    "objectId",
                    "detail",
                    "url",
                    "uri",
                    "Type",
                    "Message",
                    "eventType",
                    "SubscribeURL",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=examples(100), deadline=None)
def test_no_message_is_an_error_whatever_its_form(message: Any) -> None:
    for url in read_message(json.dumps(message).encode()).urls:
        assert "://" in url
        named(S3, [url])


def test_what_is_not_json_is_an_error_of_its_own() -> None:
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"\x00"):
        with pytest.raises(RequestError, match="not JSON"):
            read_message(body)
