"""What to do about a condition, with kubectl alone. On a laptop, and at more length: docs/conditions.md."""

from __future__ import annotations

NOTHING = "Nothing: it goes on by itself."
HEALS = frozenset(
    {
        *(
            "Accepted",
            "Answers",
            "Empty",
            "Idle",
            "Listed",
            "NothingFails",
            "UpToDate",
            "NotWanted",
            "Running",
        ),
        *("Collecting", "BatchPending", "Building", "NotBuilt", "Publishing", "Promoting", "Rebuilding"),
        *(
            "BackingOff",
            "Due",
            "MoreThanOneBatch",
            "NoBatchYet",
            "Starting",
            "Rolling",
            "Erasing",
            "Receiving",
            "Delivered",
            "WithinThresholds",
        ),
    }
)
"""Reasons that need nobody."""

_UPSTREAM = "See what it waits for, by `kubectl featurestore why` of that."
_MESSAGE = "Mend what the message names."
ADVICE: dict[str, str] = {
    "CannotStart": "Mend what the message names: an image, a Secret, a node. A changed spec makes it begin again.",
    "Deleting": "Wait. If its storage is gone for good, set the annotation that the message names.",
    "Differs": "Find out what else writes to the online store. Whoever has the keys of the storage publishes all of the view "
    "anew: `featurestore rebuild view {name}`.",
    "Drift": "Look at the columns that files bring now: change spec.columns, spec.transforms or spec.schemaPolicy. Whoever has "
    "the keys of the storage runs what was refused again: `featurestore quarantine replay {name}`.",
    "Drifted": "Look at the features that the message names. If the world has changed, train anew: a new version of the training "
    "set is what values are compared with from then on. Else correct the source. To publish all the same, set "
    "spec.monitoring.onDrift to Alert.",
    "SinkUnavailable": "See the message: who takes events does not answer, or refuses. They are sent when it does.",
    "Failed": "Correct what the message names (spec, data or code), and apply it: it is tried at once. If it was mended "
    'elsewhere: `kubectl annotate --overwrite -n {namespace} {kind} {name} featurestore.dev/retry="$(date)"`.',
    "GivenUp": "What is read stays as it was. Ask for another rebuild if you still want it.",
    "InQuarantine": "`kubectl featurestore quarantine {name}` tells the rules. Correct the spec or the source; whoever has "
    "the keys of the storage sees the rows by `featurestore quarantine show {name}`, and replays or dismisses them.",
    "Isolating": "Nothing now: the file or row that ends the process is searched for, and goes to quarantine.",
    "NotAllowed": "Name a Secret, or ask the cluster's administrator for a FeatureStorePolicy that allows it.",
    "NotCompared": "Make the training set that spec.monitoring.reference names, with features of this view.",
    "NotObserved": "See the message. Without one: is the operator running?",
    "NothingTaken": "Correct the spec: no row of the last batch fits. `kubectl featurestore quarantine {name}` tells the rules.",
    "NotReceiving": "Ask whoever installed the operator for `notifications.enabled` of its chart. Until then listings find all.",
    "NotUsed": "Delete it, or use another namespace: the namespace uses another FeatureStore.",
    "OfflineUnavailable": "See the message: the storage does not answer. Nothing is lost.",
    "OnlineUnavailable": "See the message: the online store does not answer. Publishing goes on when it does.",
    "PipelineMissing": "Apply the pipeline, or correct its name.",
    "ResourceMissing": "Apply what is named and not there, or correct its name.",
    "Retrying": "Wait for the next attempt, or mend what the message names. To try at once: "
    '`kubectl annotate --overwrite -n {namespace} {kind} {name} featurestore.dev/retry="$(date)"`.',
    "SecretMissing": "Create the Secret that the message names; it is looked for every 10 s.",
    "ServerUnavailable": "See the message: it says what Kubernetes says of the feature servers' pods. Mend what it names.",
    "WorkersUnavailable": "See the message: an image, a Secret, a quota, or a network that keeps the operator from port 6567.",
    "SourceUnavailable": "See the message: credentials, network, or the name of the source.",
    "SpecInvalid": "Correct what the message names, and apply it. The last good spec keeps running.",
    "StoreAmbiguous": "Name one FeatureStore `default`, or delete the others.",
    "StoreInvalid": "Correct the FeatureStore: its message says what is wrong.",
    "StoreMissing": "Apply a FeatureStore to the namespace.",
    "Suspended": "Set spec.suspend to Active when it shall go on.",
    "Waiting": _UPSTREAM,
    "WaitingForData": "Nothing, if its pipeline waits for its first file. Else: " + _UPSTREAM,
    "WaitingForFiles": "If there are files: compare spec.source.uri with their names.",
    "WaitingForLookup": _UPSTREAM,
    "WaitingForTurn": "Nothing: its turn comes as Jobs end. If it lasts, ask the cluster's administrator for more Jobs at once.",
}

UNSEEN = (
    "No operator has looked at this spec yet. Is one running, and does it serve this namespace? "
    "`kubectl get pods --all-namespaces --selector=app.kubernetes.io/name=featurestore-operator`"
)


def advice(reason: str, *, kind: str, name: str, namespace: str) -> str:
    """What to do; "" where nobody need do anything."""
    if reason in HEALS:
        return ""
    return ADVICE.get(reason, _MESSAGE).format(kind=kind.lower(), name=name, namespace=namespace)
