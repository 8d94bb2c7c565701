"""The page for people: what it shows, to whom, and that nothing of what it shows is obeyed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import html5lib
import pytest
from feature_server import FeatureServer, Response, serving_features
from page_project import CROWD, LONG, QUOTE, SCRIPT, crowded_project

PAGES = (
    "/",
    "/?q=delay&owner=ops-ml&tag=team%3Doperations",
    "/views/aircraft-delays",
    "/views/airport-weather",
    f"/views/{LONG}",
    "/views/delay-share",
    "/pipelines/flights",
    "/pipelines/bookings",
    "/services/delay-model",
    "/services/last-delay",
    "/trainingsets/delays",
    "/trainingsets/delays/diff?from=1&to=2",
    "/models/delays%20of%20flights",
    "/read?of=delay-model",
    "/views/none-of-this-name",
)
TOKEN = "a-token-of-a-person;with=\"odd'characters"
TAG = "{http://www.w3.org/1999/xhtml}"


def tree(page: bytes) -> Any:
    """The elements of a page.

    Raises:
        ParseError: it is not HTML as the standard has it.
    """
    return html5lib.HTMLParser(strict=True).parse(page, transport_encoding="utf-8")


def text(page: bytes) -> str:
    """What one can read on it."""
    return " ".join(" ".join(tree(page).find(f"{TAG}body").itertext()).split())


def post(server: FeatureServer, path: str, fields: dict[str, str], **headers: str) -> Response:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.ask("POST", path, urlencode(fields).encode(), {**kind, **headers})


def assert_harmless(page: bytes) -> None:
    """It is HTML, and there is no script, style or picture in it but ours, and nothing that runs when something happens."""
    elements = list(tree(page).iter())
    scripts = [it for it in elements if str(it.tag).endswith("}script")]
    assert [it.get("src", "").rpartition("/")[2] for it in scripts] == ["page.js"]
    assert not [it for it in elements if str(it.tag).endswith(("}img", "}style", "}iframe", "}object"))]
    named = [str(name) for it in elements for name in it.attrib]
    assert not [name for name in named if name.startswith("on") or name == "style"]
    links = [it.get("href") or it.get("action") or "/" for it in elements]
    assert not [link for link in links if not link.startswith(("/", "#"))]
    assert not set(page.decode()) & {chr(code) for code in (*range(9), *range(11, 32), 127, 0x202E)}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_valid_and_nothing_that_it_shows_is_obeyed(pages: FeatureServer, path: str) -> None:
    answer = pages.ask("GET", path)
    assert answer.status == (404 if "none-of-this" in path else 200)
    assert_harmless(answer.body)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_texts_of_others_are_shown_as_they_are(pages: FeatureServer) -> None:
    said = text(pages.ask("GET", "/views/airport-weather").body)
    assert SCRIPT in said
    assert QUOTE in said
    assert "\\x1b[2J\\x00\\u202e" in said


@pytest.mark.parametrize(
    "path",
    [
        "/views/%3Cscript%3Ealert(1)%3C/script%3E",
        "/views/..%2F..%2Fregistry",
        "/pipelines/" + "x" * 5000,
        "/services/%00%1b%5b2J",
        "/views/%ff%fe",
        "/read?of=%3Cscript%3E",
        "/read?of=%00",
        "/read",
        "/nothing/of/this",
    ],
)
def test_an_address_of_nothing_is_told_as_that(pages: FeatureServer, path: str) -> None:
    answer = pages.ask("GET", path, headers={"Accept": "text/html"})
    assert answer.status == 404
    assert_harmless(answer.body)


def test_style_and_script_are_kept_by_browsers_and_nothing_beside_them_is_given(pages: FeatureServer) -> None:
    page = tree(pages.ask("GET", "/").body)
    found = {it.get("src") or it.get("href") for it in page.iter() if it.get("src") or it.get("rel")}
    assert {path.rpartition("/")[2] for path in found} == {"icon.svg", "page.css", "page.js"}
    for path in found:
        answer = pages.ask("GET", path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
    for path in (
        "/assets/000000000000/page.css",
        "/assets/x/..%2f..%2frendering.py",
        "/assets/x/__init__.py",
    ):
        assert pages.ask("GET", path).status == 404


def test_odd_searches_find_nothing_and_break_nothing(pages: FeatureServer) -> None:
    for query in (
        "q=%ff",
        "tag=%00",
        "q=" + "%3Cscript%3E" * 50,
        "owner=" + "x" * 5000,
        "&".join(["q=a"] * 500),
    ):
        answer = pages.ask("GET", f"/?{query}")
        assert answer.status == 200
        assert_harmless(answer.body)


def names(pages: FeatureServer, query: str) -> set[str]:
    rows = [it for it in tree(pages.ask("GET", f"/?{query}").body).iter(f"{TAG}tr") if it.get("data-words")]
    return {next(row.iter(f"{TAG}a")).text for row in rows}


def test_the_catalogue_is_searched_by_name_feature_tag_and_owner(pages: FeatureServer) -> None:
    assert {"flights", "weather", "aircraft-delays", "delay-model"} <= names(pages, "")
    assert names(pages, "q=ROUTE") == {"routes"}
    assert names(pages, "q=delay_mean_7d") == {"aircraft-delays"}
    assert names(pages, "q=tier%3Dgold") == {"aircraft-delays"}
    assert names(pages, "tag=team%3Doperations") == {"aircraft-delays", "routes", "delay-model"}
    assert names(pages, "tag=team&q=flight") == {"flights"}
    assert names(pages, "owner=weather") == {"weather", "airport-weather"}
    assert names(pages, "owner=weather&q=nothing-of-this") == set()


def test_what_is_wrong_stands_before_all_else(pages: FeatureServer) -> None:
    said = text(pages.ask("GET", "/").body)
    assert said.index("What is wrong") < said.index("44 rows in quarantine") < said.index("Views 5")
    assert f"Waiting: {LONG}" in said
    page = text(pages.ask("GET", "/pipelines/flights").body)
    assert page.index("44 rows in quarantine") < page.index("Rows per batch")


def test_a_view_shows_what_it_is_what_it_holds_and_who_uses_it(pages: FeatureServer) -> None:
    page = pages.ask("GET", "/views/aircraft-delays").body
    said = text(page)
    for part in (
        "How late an aircraft was, last and on average.",
        "aircraft (tailnum string)",
        "Rows 3,406",
        "Newest event 2026-01-06T04:59:00Z",
        "Mean of arr_delay over 7d",
        "least -30 median 60 greatest 150",
        "Values are those of all 3,406 rows",
        "Used by 3",
    ):
        assert part in said
    drawn = [it.get("aria-label") for it in tree(page).iter() if str(it.tag).endswith("}svg")]
    assert "Rows of the last 5 commits: between 295 and 1,186, the newest 295" in drawn


def test_a_view_shows_how_drift_went_and_what_is_not_compared(pages: FeatureServer) -> None:
    page = pages.ask("GET", "/views/aircraft-delays").body
    said = text(page)
    assert "Not compared, as they are aggregated: delay_mean ." in said
    titles = [it.text for it in tree(page).iter() if str(it.tag).endswith("title")]
    assert "Commit 2, by version 1: 0.6, of last_delay" in titles
    assert [it for it in tree(page).iter() if it.get("class") == "limit"]


@pytest.mark.parametrize(
    "path", ["/trainingsets/delays", "/services/last-delay", "/models/delays%20of%20flights"]
)
def test_models_are_shown_where_one_asks_what_they_were_trained_on(pages: FeatureServer, path: str) -> None:
    page = pages.ask("GET", path).body
    shown = text(page)
    assert shown.index("models:/m-2") < shown.index("models:/m-1")
    assert f"https://mlflow/{SCRIPT}" in shown
    links = {it.get("href") for it in tree(page).iter(f"{TAG}a")}
    assert {"/trainingsets/delays", "/services/last-delay"} <= links
    assert ("/models/delays%20of%20flights" in links) == (not path.startswith("/models/"))


def test_a_training_set_shows_its_versions_and_what_changed_between_two(pages: FeatureServer) -> None:
    page = pages.ask("GET", "/trainingsets/delays").body
    shown = text(page)
    assert "Versions 2" in shown
    assert "all 3,406" in shown
    way = "/trainingsets/delays/diff?from=1&to=2"
    assert way in {it.get("href") for it in tree(page).iter(f"{TAG}a")}
    changed = text(pages.ask("GET", way).body)
    assert "spec.labels" in changed
    assert "'filter': 'arr_delay > 0'" in changed
    assert "Rows all parts 3,406" in changed
    assert "Statistics all: minimum of arr_delay -30.0 " in changed
    assert "The two versions are the same." in text(
        pages.ask("GET", "/trainingsets/delays/diff?from=1&to=1").body
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("from=1", 400),
        ("from=1&to=2&to=3", 400),
        ("from=1&to=9", 404),
        ("from=1&to=%3Cscript%3E", 404),
    ],
)
def test_a_difference_of_no_two_versions_is_told_as_that(
    pages: FeatureServer, query: str, status: int
) -> None:
    answer = pages.ask("GET", f"/trainingsets/delays/diff?{query}", headers={"Accept": "text/html"})
    assert answer.status == status
    assert_harmless(answer.body)


def test_a_service_shows_no_model_of_another_one(pages: FeatureServer) -> None:
    assert "models:/m-1" not in text(pages.ask("GET", "/services/delay-model").body)


def test_a_view_shows_statistics_of_all_its_rows(pages: FeatureServer) -> None:
    said = text(pages.ask("GET", "/views/aircraft-delays").body)
    assert "Statistics Of 3,406 rows at commit" in said
    assert "Feature Empty Distinct Least Median Greatest Mean Deviation last_delay" in said


def test_a_pipeline_shows_batches_and_the_reasons_of_what_is_in_quarantine(pages: FeatureServer) -> None:
    said = text(pages.ask("GET", "/pipelines/flights").body)
    assert (
        "plausible-delay arr_delay BETWEEN -200 AND 2000, but arr_delay = 9000.0 13 4 2026-01-05.parquet"
        in said
    )
    assert "known-airport dest <> 'XXX', but dest = 'XXX' 1 4 2026-01-05.parquet" in said
    assert "4 8" in said
    assert "1,200 1,186 14 0 0" in said


def test_the_lineage_leads_from_the_source_to_the_models(pages: FeatureServer) -> None:
    page = tree(pages.ask("GET", "/views/aircraft-delays").body)
    picture = next(it for it in page.iter() if it.get("class") == "lineage")
    links = [it.get("href") for it in picture.iter() if it.get("href")]
    ways = [
        *("/pipelines/flights", "/views/aircraft-delays", "/views/delay-share", "/services/delay-model"),
        *("/services/last-delay", "/trainingsets/delays"),
    ]
    assert sorted(links) == sorted(ways)
    shown = " ".join(picture.itertext())
    assert "raw/flights/*.parquet" in shown
    assert "routes" not in shown


def read(server: FeatureServer, name: str, keys: dict[str, str], **headers: str) -> Response:
    fields = {"of": name, **{f"key.{key}": value for key, value in keys.items()}}
    return post(server, "/read", fields, **headers)


def test_the_form_answers_values_with_statuses_and_times(pages: FeatureServer) -> None:
    answer = read(pages, "routes", {"dest": "BOS", "number": "4"})
    assert answer.status == 200
    assert_harmless(answer.body)
    (api,) = pages.read(["routes:delay"], {"dest": ["BOS"], "number": [4]})["features"]["delay"]
    assert f"delay {api} PRESENT 2026-01-06T" in text(answer.body)
    assert "delay null NOT_FOUND –" in text(read(pages, "routes", {"dest": "BOS", "number": "99"}).body)
    said = text(read(pages, "delay-model", {"tailnum": "N6", "origin": QUOTE, "minutes": "0.5"}).body)
    assert "aircraft-delays__last_delay" in said
    assert "airport-weather__temperature null NULL_VALUE 2026-01-02T00:00:00.000000Z" in said
    assert "Infinity" in text(read(pages, "airport-weather", {"dest": "LAX"}).body)


@pytest.mark.parametrize(
    ("name", "keys", "status", "part"),
    [
        ("routes", {"dest": SCRIPT, "number": SCRIPT}, 422, "number: wanted int32, got"),
        ("routes", {"dest": "BOS", "number": str(2**40)}, 422, "int32"),
        ("routes", {}, 422, "number: wanted int32, got ''"),
        ("delay-share", {"tailnum": "N6", "minutes": "soon"}, 422, "minutes: wanted float64, got 'soon'"),
        (LONG, {"tailnum": "N6"}, 404, "no build is complete"),
        ("nothing-of-this", {}, 404, "there is no view"),
    ],
)
def test_a_form_that_is_filled_in_wrong_says_what_is_wrong(
    pages: FeatureServer, name: str, keys: dict[str, str], status: int, part: str
) -> None:
    answer = read(pages, name, keys)
    assert answer.status == status
    assert_harmless(answer.body)
    assert part in text(answer.body)


def test_a_form_that_another_site_sends_is_refused(pages: FeatureServer) -> None:
    for site in ("cross-site", "same-site"):
        answer = read(pages, "routes", {"dest": "BOS", "number": "4"}, **{"Sec-Fetch-Site": site})
        assert answer.status == 403
        assert b"PRESENT" not in answer.body


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "log"


@pytest.fixture(scope="module")
def guarded(shown: Path, audit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text(f"ann {TOKEN}\n")
    options = ["--auth", "token", "--token-file", str(folder / "tokens"), "--audit-log", str(audit)]
    with serving_features(shown, folder / "log", *options) as running:
        yield running


def signed_in(server: FeatureServer) -> str:
    answer = post(server, "/sign-in", {"token": TOKEN, "next": "/views/routes"})
    assert (answer.status, answer.headers["location"]) == (303, "/views/routes")
    cookie, _, rules = answer.headers["set-cookie"].partition("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rules.split("; "))
    assert TOKEN not in cookie
    return cookie


@pytest.mark.parametrize("path", PAGES)
def test_who_has_not_signed_in_is_shown_a_form_for_that_and_nothing_else(
    guarded: FeatureServer, path: str
) -> None:
    for headers in (
        {},
        {"Cookie": "featurestore-token=bm8="},
        {"Authorization": "Bearer of-nothing-at-all-here"},
    ):
        answer = guarded.ask("GET", path, headers=headers)
        assert answer.status == 401
        assert_harmless(answer.body)
        assert "Sign in" in text(answer.body)
        for word in ("flights", "delays", "ops-ml", "weather"):
            assert word not in text(answer.body)


def test_a_token_signs_in_and_out_and_its_cookie_opens_pages_only(guarded: FeatureServer) -> None:
    cookie = {"Cookie": f'other={{"odd": 1}}; {signed_in(guarded)}'}
    page = guarded.ask("GET", "/views/routes", headers=cookie)
    assert page.status == 200
    assert "ann Sign out" in text(page.body)
    assert TOKEN not in page.body.decode()
    assert guarded.ask("GET", "/v1/views", headers=cookie).status == 401
    gone = post(guarded, "/sign-out", {}, **cookie)
    assert gone.status == 303
    assert "featurestore-token=; " in gone.headers["set-cookie"]
    assert "Max-Age=0" in gone.headers["set-cookie"]


def test_a_token_that_is_nobodys_signs_nobody_in(guarded: FeatureServer) -> None:
    for token, status in (("nobody's-long-token", 401), ("", 401), ("x" * 4000, 422)):
        answer = post(guarded, "/sign-in", {"token": token})
        assert (answer.status, answer.headers.get("set-cookie")) == (status, None)
        assert_harmless(answer.body)


@pytest.mark.parametrize(
    "there", ["//evil.example", "https://evil.example", "/\\evil.example", "/ok\r\nX-A: b", "x"]
)
def test_signing_in_leads_to_no_other_site(guarded: FeatureServer, there: str) -> None:
    answer = post(guarded, "/sign-in", {"token": TOKEN, "next": there})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "x-a" not in answer.headers


def test_each_read_of_a_page_is_written_with_who_read_what_and_no_value(
    guarded: FeatureServer, audit: Path
) -> None:
    cookie = {"Cookie": signed_in(guarded)}
    before = len(audit.read_text().splitlines())
    read(guarded, "routes", {"dest": "BOS", "number": "4"}, **cookie)
    guarded.ask("GET", "/views/aircraft-delays", headers=cookie)
    guarded.ask("GET", "/pipelines/flights", headers=cookie)
    lines = [json.loads(line) for line in audit.read_text().splitlines()[before:]]
    said = [(it["caller"], it["route"], it["status"], it["views"], it["entities"]) for it in lines]
    assert said == [
        ("ann", "page_read", 200, ["routes"], 1),
        ("ann", "page_view", 200, ["aircraft-delays"], 0),
        ("ann", "page_pipeline", 200, [], 0),
    ]
    assert lines[-1]["pipelines"] == ["flights"]
    assert "BOS" not in audit.read_text()


def test_two_hundred_views_are_listed_and_each_is_found(tmp_path: Path) -> None:
    project = crowded_project(tmp_path / "project")
    with serving_features(project, tmp_path / "log") as server:
        page = server.ask("GET", "/").body
        assert_harmless(page)
        assert f"Views {CROWD}" in text(page)
        assert "and 189 more" in text(page)
        assert names(server, "q=view-199") == {"view-199"}
        assert len(names(server, "owner=team-3")) == CROWD // 5
        pipeline = server.ask("GET", "/pipelines/one").body
        assert_harmless(pipeline)
        assert "and 188 more" in text(pipeline)


def test_what_is_damaged_is_told_and_hides_nothing_else(shown: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(shown, project)
    (project / "root/registry/views/routes/current.json").write_text("{")
    for file in (project / "root/features/aircraft-delays").glob("*/*.parquet"):
        file.unlink()
    for file in (project / "root/quarantine/pipelines/flights").glob("*.parquet"):
        file.write_bytes(b"no Parquet at all")
    newest = max((project / "root/trainingsets/delays/models").iterdir())
    newest.write_text("{")
    with serving_features(project, tmp_path / "log") as server:
        for path in ("/trainingsets/delays", "/services/last-delay", "/models/delays%20of%20flights"):
            said = text(server.ask("GET", path).body)
            assert "Could not be read: 1 record of models." in said
            assert "models:/m-1" in said
            assert "models:/m-2" not in said
        said = text(server.ask("GET", "/").body)
        assert said.index("routes view Cannot be read") < said.index("44 rows in quarantine")
        assert server.ask("GET", "/views/routes").status == 200
        page = server.ask("GET", "/views/aircraft-delays")
        assert page.status == 200
        assert "Could not be read: what values look like" in text(page.body)
        assert "Mean of arr_delay over 7d" in text(page.body)
        assert str(tmp_path) not in text(page.body)
        page = server.ask("GET", "/pipelines/flights")
        assert page.status == 200
        assert "Could not be read: what is in quarantine" in text(page.body)
        assert "1,200 1,186 14 0 0" in text(page.body)
