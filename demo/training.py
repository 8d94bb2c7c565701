"""The story of a model: flights, features, a training set, a model in MLflow, served by KServe, and a month that has drifted.

MLflow and KServe are in environments of their own, each with the wheel of this checkout: what needs them runs as a process there.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
from own_environment import OwnEnvironment, own_environment
from server import Server, free_port

import featurestore
from demo.flights import load, shift_to
from demo.show import command, heading, say
from featurestore.reconcile.conditions import Condition, read_status
from featurestore.storage.objects import Storage

HERE = Path(__file__).parent
FEATURES = ["aircraft-delays:last_arr_delay", "aircraft-delays:arr_delay_mean_7d"]
MONTHS = 2
WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Story:
    """What came of it. ``store``: where the features are. ``digest``: of the version that the model was trained on.

    ``keys``: those that KServe was asked about, at ``asked_at``, and ``predictions``: what it answered. ``weights``: the file
    that MLflow kept. ``drifted``: the condition after a month that is another.
    """

    store: str
    digest: str
    weights: Path
    keys: list[dict[str, str]]
    asked_at: datetime
    predictions: list[float]
    drifted: Condition


def main(place: Path = Path("demo-training-store")) -> int:
    tell(place)
    return 0


def tell(place: Path) -> Story:
    """Tell the story in this folder, which is made anew.

    Raises:
        SystemExit: it did not go as it should.
    """
    place = place.absolute()
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "training_store", place)
    root = str(place / ".featurestore")

    heading(1, "Two months of flights become features and a training set")
    months = flights(datetime.now(UTC))
    for number, month in enumerate(months):
        arrive(place, number, month)
    command(place, "apply", "-f", ".")
    command(place, "run", "--once")
    command(place, "get", "trainingsets")

    heading(2, "A model is trained on it, and logged in MLflow with what it was trained on")
    (place / "environments").mkdir()
    mlflow, kserve = (environment(it, place) for it in ("mlflow", "kserve"))
    tracking = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db",
        "FEATURESTORE_URI": root,
        "HOME": str(place),
    }
    model = ask(mlflow, "log_model.py", str(place), environ=tracking)
    say(f"{model['uri']}: trained on {model['rows']:,} rows of the version {model['digest'][:12]}")

    heading(3, "KServe serves it: clients send tail numbers, the transformer brings the features")
    known = months[-1].filter(pl.col("arr_delay").is_not_null())["tailnum"].drop_nulls().unique().sort()
    keys = [{"tailnum": tail} for tail in [*known.head(2), "nobody"]]
    with serving(kserve, root, model["weights"], place) as url:
        asked_at = datetime.now(UTC)
        answered = post(f"{url}/v1/models/delays:predict", {"instances": keys})["predictions"]
    features = featurestore.connect(root).get_features(FEATURES, keys).to_dict()
    for key, predicted, wanted in zip(keys, answered, expected(features, model["weights"]), strict=True):
        say(f"  {key['tailnum']}: {predicted:.3f}")
        if abs(predicted - wanted) > 1e-9:
            raise SystemExit(f"KServe answers {predicted} for {key}, and features of now give {wanted}")

    heading(4, "A month comes in which all are two hours late")
    drifted = months[-1].with_columns(
        pl.col("arr_delay") + 120, time_hour=pl.col("time_hour") + timedelta(minutes=30)
    )
    arrive(place, MONTHS, drifted)
    command(place, "run", "--once")
    command(place, "describe", "view", "aircraft-delays")
    found = condition(root, "Drifted")
    if found is None or found.status.value != "True":
        raise SystemExit(f"the month has drifted, and nobody says so: {found}")
    say(f"\n[bold]{found.type}[/]: {found.message}")
    return Story(root, model["digest"], Path(model["weights"]), keys, asked_at, answered, found)


def flights(now: datetime) -> list[pl.DataFrame]:
    """The last months that end now, 30 days each, in order."""
    moved = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC") + shift_to(now)
    every = load("flights").with_columns(time_hour=moved)
    ends = [now - timedelta(days=1 + 30 * n) for n in range(MONTHS, -1, -1)]
    return [
        every.filter(pl.col("time_hour").is_between(begin, end, closed="left"))
        for begin, end in pairwise(ends)
    ]


def arrive(place: Path, number: int, month: pl.DataFrame) -> None:
    folder = place / "data"
    folder.mkdir(exist_ok=True)
    hidden = folder / ".arriving"
    month.write_parquet(hidden)
    hidden.rename(folder / f"{number}.parquet")


def environment(name: str, place: Path) -> OwnEnvironment:
    folder = place / "environments" / name
    folder.mkdir()
    return own_environment(name, folder)


def ask(where: OwnEnvironment, script: str, *arguments: str, environ: dict[str, str]) -> Any:
    """What a script of this folder prints in its last line, as JSON."""
    return where.ask(str(HERE / script), *arguments, environ=environ)


@contextmanager
def serving(kserve: OwnEnvironment, root: str, weights: str, place: Path) -> Iterator[str]:
    """KServe's servers, predictor and transformer, until the end of the block; the URL of the transformer."""
    predictor, transformer = free_port(), free_port()
    common = ["--model_name=delays", "--enable_grpc=false"]
    commands: dict[int, list[object]] = {
        predictor: [kserve.python, HERE / "predictor.py", f"--http_port={predictor}", *common],
        transformer: [
            *(kserve.python, "-m", "featurestore.kserve", f"--http_port={transformer}", *common),
            *(f"--predictor_host=127.0.0.1:{predictor}", "--predictor_protocol=v1"),
            *(f"--features={it}" for it in FEATURES),
            *("--fill=last_arr_delay=0.0", "--fill=arr_delay_mean_7d=0.0"),
        ],
    }
    environ = kserve.environ(FEATURESTORE_URI=root, WEIGHTS=weights)
    with ExitStack() as stack:
        servers = []
        for port, line in commands.items():
            ready = partial(is_ready, f"http://127.0.0.1:{port}/v1/models/delays")
            server = Server(line, place / f"{port}.log", ready, environ)
            server.launch()
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait(WITHIN_S)
        yield f"http://127.0.0.1:{transformer}"


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def expected(features: dict[str, list[Any]], weights: str) -> list[float]:
    """What the model says of these features."""
    *each, base = json.loads(Path(weights).read_text())
    columns = [features[name.partition(":")[2]] for name in FEATURES]
    return [
        sum(weight * (value or 0.0) for weight, value in zip(each, row, strict=True)) + base
        for row in zip(*columns, strict=True)
    ]


def condition(root: str, kind: str) -> Condition | None:
    status = read_status(Storage(root), "views", "aircraft-delays")
    return status.condition(kind) if status else None


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
