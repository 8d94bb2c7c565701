"""The paths of everything below a storage root. No other module knows them.

```
registry/store.json                                the FeatureStore as last accepted
registry/owner.json                                which namespace of which cluster it belongs to, if any
registry/{pipelines,views}/<name>/current.json     which digest is accepted
registry/{pipelines,views}/<name>/<digest>.json    the resource with that digest; never changes
registry/{pipelines,views}/<name>/deleting.json    while its data is being deleted
registry/{pipelines,views}/<name>/status.json      its conditions, as a runner or the operator last saw them
ledger/<pipeline>/ledger.json                      the ledger's uid: the application id of every commit
ledger/<pipeline>/manifests/<n div 1000>/<n>.json  the intent of batch n; never changes
ledger/<pipeline>/results/<n div 1000>/<n>.json    what batch n became, for those who load no data engine
ledger/<pipeline>/trials/<g>/<n>/<turn>.json       how an attempt at batch n or a part of it ended, if one crashed
ledger/<pipeline>/schemas/<g>/<n>.json             what source files look like since batch n, if it changed that
ledger/<pipeline>/rebuilds/<r>/intent.json         what rebuild r runs again, under which spec; never changes
ledger/<pipeline>/rebuilds/asked/<digest>.json     a request to rebuild that was made before there was any history
ledger/<pipeline>/rebuilds/<r>/batches/<n div 1000>/<n>.json  what batch n came to in it
ledger/<pipeline>/rebuilds/<r>/trials/<n>/<turn>.json         as above, of an attempt within it
ledger/<pipeline>/rebuilds/<r>/decision.json       whether it is to be promoted, or was given up
ledger/<pipeline>/rebuilds/<r>/promoted.json       what the dataset has been since; g is the greatest such r, or 0
ledger/<pipeline>/erased/<e>.json                  what erasure e left of it, for those who load no data engine
ledger/<pipeline>/checkpoints/<n>.tsv.gz           arrivals of batches 1 … n, sorted by URI
ledger/<pipeline>/retimed.tsv.gz                   local files with another time and the same bytes; may be lost
datasets/<pipeline>/                               Delta table: cleaned rows
quarantine/pipelines/<name>/                       Delta table: what broke which rule
quarantine/views/<name>/<digest>/                  Delta table: rows that one definition has no place for
features/<view>/current.json                       which build serves
features/<view>/builds/<digest>.json               how far a build has come
features/<view>/events/<digest>.json               the newest commit of a build that a sink of events was told of
features/<view>/rebuilds/<n>.json                  the n-th request to rebuild the view; never changes
features/<view>/trials/<digest>/<n>/<turn>.json    how an attempt at a build that holds version n ended, if one crashed
features/<view>/trials/<digest>/<n>/plan.json      which rows it is about
features/<view>/<digest>/                          Delta table: feature rows of one definition
features/<view>/statistics/<digest>/<n>.json       statistics of version n of that table
features/<view>/statistics/<digest>/<n>.recent     a sample of what came last, as Parquet: of the newest alone
features/<view>/statistics/<digest>/drift.json     how far that lies from a training set
features/<view>/statistics/<digest>/consistency.json  whether what is online is what the join answers
features/<view>/statistics/references/             what the training set looks like
features/<view>/statistics/<digest>/<n>.parquet    what those of later versions are put together from: of the newest alone
online/<view>/                                     DuckDB generations
<folder>/<name>/<what>/<n>.json                    numbered records of any other kind, by its folder in the registry:
trainingsets/<set>/versions/<n>.json               what version n is made of; never changes
trainingsets/<set>/results/<n>.json                what version n became, once it is complete
trainingsets/<set>/models/<us>-<digest>.json       a model that was trained on a version, by the time it was logged; never changes
trainingsets/<set>/checked.json                    when it was last found that nothing new is there
trainingsets/<set>/<digest>/manifest.json          what stands in a version, and what it was made of
trainingsets/<set>/<digest>/<part>/<k>.parquet     its rows, in shards
trainingsets/<set>/<digest>/_shards/<part>/<k>.json what stands in a shard, for whoever goes on after a kill
erasures/<e>/intent.json                           whose rows are erased: salted hashes of keys; never changes
erasures/<e>/record.json                           what was done, signed
erasures/signing.key                               what signs it, unless a key is given
```
"""

from __future__ import annotations

STORE = "registry/store.json"
OWNER = "registry/owner.json"
ERASURES = "erasures"
SIGNING_KEY = "erasures/signing.key"
FOLDER_BATCHES = 1000
TRAINING_SETS = "trainingsets"


def number(n: int) -> str:
    """Batch numbers sort as text.

    >>> number(12)
    '000000000012'
    """
    return f"{n:012d}"


def pointer(kind: str, name: str) -> str:
    """Path of the pointer to the accepted resource; ``kind`` is ``pipelines`` or ``views``."""
    return f"registry/{kind}/{name}/current.json"


def accepted(kind: str, name: str, digest: str) -> str:
    return f"registry/{kind}/{name}/{digest}.json"


def deleting(kind: str, name: str) -> str:
    """There while the data of a resource is being deleted: whoever finds it there goes on with that first."""
    return f"registry/{kind}/{name}/deleting.json"


def status(kind: str, name: str) -> str:
    return f"registry/{kind}/{name}/status.json"


def ledger(pipeline: str) -> str:
    return f"ledger/{pipeline}"


def identity(pipeline: str) -> str:
    """Path of the ledger's uid: without it there is no ledger."""
    return f"ledger/{pipeline}/ledger.json"


def batch_folder(n: int) -> str:
    """The folder of batch ``n``: a thousand batches stand together, so that no listing is ever long.

    >>> batch_folder(1234)
    '000000001'
    """
    return f"{n // FOLDER_BATCHES:09d}"


def manifest(pipeline: str, n: int) -> str:
    return f"ledger/{pipeline}/manifests/{batch_folder(n)}/{number(n)}.json"


def result(pipeline: str, n: int) -> str:
    return f"ledger/{pipeline}/results/{batch_folder(n)}/{number(n)}.json"


def trials(pipeline: str, generation: int) -> str:
    return f"ledger/{pipeline}/trials/{generation:06d}"


def trial(folder: str, n: int, turn: int) -> str:
    return f"{folder}/{number(n)}/{turn:06d}.json"


def schemas(pipeline: str, generation: int) -> str:
    return f"ledger/{pipeline}/schemas/{generation:06d}"


def rebuild(pipeline: str, r: int) -> str:
    return f"ledger/{pipeline}/rebuilds/{r:06d}"


def rebuild_asked(pipeline: str, request: str) -> str:
    return f"ledger/{pipeline}/rebuilds/asked/{request}.json"


def rebuilt_batch(pipeline: str, r: int, n: int) -> str:
    return f"{rebuild(pipeline, r)}/batches/{batch_folder(n)}/{number(n)}.json"


def erased_histories(pipeline: str) -> str:
    return f"ledger/{pipeline}/erased"


def erasure(number_: int) -> str:
    return f"{ERASURES}/{number(number_)}/intent.json"


def erasure_record(number_: int) -> str:
    return f"{ERASURES}/{number(number_)}/record.json"


def checkpoint(pipeline: str, n: int) -> str:
    return f"ledger/{pipeline}/checkpoints/{number(n)}.tsv.gz"


def retimed(pipeline: str) -> str:
    return f"ledger/{pipeline}/retimed.tsv.gz"


def dataset(pipeline: str) -> str:
    return f"datasets/{pipeline}"


def quarantine(kind: str, name: str) -> str:
    return f"quarantine/{kind}/{name}"


def rejected_rows(view: str, digest: str) -> str:
    """A definition's own quarantine: a corrected definition starts with an empty one."""
    return f"{quarantine('views', view)}/{digest}"


def dismissed(table: str) -> str:
    """Beside the table of a quarantine: what was closed by hand."""
    return f"{table}/_dismissed"


def serving(view: str) -> str:
    return f"features/{view}/current.json"


def builds(view: str) -> str:
    return f"features/{view}/builds"


def build(view: str, digest: str) -> str:
    return f"features/{view}/builds/{digest}.json"


def view_rebuilds(view: str) -> str:
    return f"features/{view}/rebuilds"


def view_rebuild(view: str, n: int) -> str:
    return f"{view_rebuilds(view)}/{number(n)}.json"


def view(name: str) -> str:
    """The folder with all that is stored of a view, whichever definition."""
    return f"features/{name}"


def told_commits(view: str, digest: str) -> str:
    return f"features/{view}/events/{digest}.json"


def commit_log(view: str, digest: str, version: int) -> str:
    """What Delta Lake writes of one commit of a build."""
    return f"{features(view, digest)}/_delta_log/{version:020d}.json"


def features(view: str, digest: str) -> str:
    return f"features/{view}/{digest}"


def view_statistics(view: str, digest: str | None = None) -> str:
    """The folder of the statistics of a build; of all builds without one."""
    return f"features/{view}/statistics" + (f"/{digest}" if digest else "")


def statistics_record(view: str, digest: str, version: int) -> str:
    return f"{view_statistics(view, digest)}/{number(version)}.json"


def statistics_profile(view: str, digest: str, version: int) -> str:
    return f"{view_statistics(view, digest)}/{number(version)}.parquet"


def recent_profile(view: str, digest: str, version: int) -> str:
    return f"{view_statistics(view, digest)}/{number(version)}.recent"


def drift(view: str, digest: str) -> str:
    return f"{view_statistics(view, digest)}/drift.json"


def consistency(view: str, digest: str) -> str:
    return f"{view_statistics(view, digest)}/consistency.json"


def references(view: str) -> str:
    """The folder of what the training set that a view is compared with looks like."""
    return view_statistics(view, "references")


def reference_profile(view: str, version: str, erasures: int) -> str:
    return f"{references(view)}/{version}-{erasures}.parquet"


def view_trials(view: str) -> str:
    return f"features/{view}/trials"


def build_trials(view: str, digest: str) -> str:
    return f"{view_trials(view)}/{digest}"


def build_plan(trials_: str, held: int) -> str:
    return f"{trials_}/{number(held)}/plan.json"


def online(view: str) -> str:
    return f"online/{view}"


def made(kind: str, name: str) -> str:
    """The folder with all that is made of a resource, of a kind that has no places of its own above."""
    return f"{kind}/{name}"


def records(kind: str, name: str, what: str) -> str:
    """The folder of numbered records of a resource.

    >>> records("trainingsets", "delays", "versions")
    'trainingsets/delays/versions'
    """
    return f"{made(kind, name)}/{what}"


def record(kind: str, name: str, what: str, n: int) -> str:
    """The path of one of them."""
    return f"{records(kind, name, what)}/{number(n)}.json"


def training(name: str) -> str:
    return made(TRAINING_SETS, name)


def training_versions(name: str) -> str:
    return records(TRAINING_SETS, name, "versions")


def training_version(name: str, n: int) -> str:
    return record(TRAINING_SETS, name, "versions", n)


def training_results(name: str) -> str:
    return records(TRAINING_SETS, name, "results")


def training_result(name: str, n: int) -> str:
    return record(TRAINING_SETS, name, "results", n)


def trained_models(name: str) -> str:
    return records(TRAINING_SETS, name, "models")


def trained_model(name: str, where: str) -> str:
    return f"{trained_models(name)}/{where}.json"


def training_checked(name: str) -> str:
    return f"{training(name)}/checked.json"


def training_data(name: str, digest: str) -> str:
    return f"{training(name)}/{digest}"


def training_manifest(name: str, digest: str) -> str:
    return f"{training_data(name, digest)}/manifest.json"


def shard(part: str, n: int) -> str:
    """Path of a shard below the folder of its version.

    >>> shard("train", 12)
    'train/00012.parquet'
    """
    return f"{part}/{n:05d}.parquet"


def shard_record(part: str, n: int) -> str:
    return record_of_shard(shard(part, n))


def record_of_shard(path: str) -> str:
    """Path of the record of a shard, also of one that was written again.

    >>> record_of_shard("train/00012.e3.parquet")
    '_shards/train/00012.json'
    """
    return f"_shards/{path.partition('.')[0]}.json"


def data(kind: str, name: str) -> tuple[str, ...]:
    """All folders with what was made of a resource; the ledger last, which says what the others hold."""
    match kind:
        case "pipelines":
            return (dataset(name), quarantine(kind, name), ledger(name))
        case "views":
            return (online(name), f"features/{name}", quarantine(kind, name))
    return (made(kind, name),)
