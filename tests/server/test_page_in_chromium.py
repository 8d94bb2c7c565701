"""The page in a real browser: contrast and names for those who do not see it, keys, phones, and no script.

Its screenshots are kept in the folder ``screenshots`` where everything is tried.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from examples import exhaustive, sample
from feature_server import FeatureServer
from playwright.sync_api import Browser, Page, sync_playwright
from unavailable import unavailable

ADDRESSES = {
    "catalogue": "/",
    "search": "/?q=delay&owner=ops-ml&tag=team%3Doperations",
    "view": "/views/aircraft-delays",
    "hostile": "/views/airport-weather",
    "on-demand": "/views/delay-share",
    "pipeline": "/pipelines/flights",
    "service": "/services/delay-model",
    "training-set": "/trainingsets/delays",
    "model": "/models/delays%20of%20flights",
    "form": "/read?of=delay-model",
    "problem": "/views/none-of-this-name",
}
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MOST_MS = 120_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here. While it is there, an event loop runs, and other tests could run none."""
    program = shutil.which("chromium")
    if program is None:
        unavailable(FileNotFoundError("there is no chromium: tests/services installs it"))
    with sync_playwright() as playwright:
        # Root, as which tests run in a container, has no sandbox; and /dev/shm is small there.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments, timeout=MOST_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, pages: FeatureServer) -> Iterator[Page]:
    """A window of the server's pages."""
    with chromium.new_context(base_url=pages.url, viewport=DESK, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        context.set_default_timeout(MOST_MS)
        yield context.new_page()


def keep(page: Page, name: str) -> None:
    """A screenshot of all of the page, to look at. To draw it takes as long as all else."""
    if exhaustive():
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_those_who_see_little_or_nothing_on_desks_and_phones(
    page: Page, scheme: str
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    # In the dark, only colors differ: in `make test` some pages show all of them.
    for name, address in sample([*ADDRESSES.items()], 4) if scheme == "dark" else ADDRESSES.items():
        page.goto(address)
        found = Axe().run(page)
        assert found.response["violations"] == [], f"{name}: {found.generate_report()}"
        for device, size in {"desk": DESK, "phone": PHONE}.items():
            page.set_viewport_size(size)  # type: ignore[arg-type]
            beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(beyond) == 0, f"{name} is wider than a {device}"
            keep(page, f"{name}-{scheme}-{device}")
        assert "owned" not in page.title()
    # What a browser says by itself of the one page that is not there.
    assert [text for text in said if "404" not in text] == []


def test_the_page_is_used_by_keys_alone(page: Page) -> None:
    page.goto("/views/aircraft-delays")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached: list[str] = []
    while "/pipelines/flights" not in reached[1:]:  # its link among the facts, then its node in the picture
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href') || ''"))
        assert len(reached) < 40, reached
        if reached[-1] == "/pipelines/flights" and page.evaluate(
            "document.activeElement.closest('svg') !== null"
        ):
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pipelines/flights")


def test_the_lineage_is_clicked_through(page: Page) -> None:
    page.goto("/pipelines/flights")
    for name in ("aircraft-delays", "delay-share", "delay-model"):
        page.locator(f"svg.lineage a[aria-label^='{name},']").click()
        page.wait_for_url(f"**/{name}")
        assert page.locator("h1").inner_text() == name


def test_values_are_read_by_the_form_of_a_view(page: Page) -> None:
    page.goto("/views/routes")
    page.get_by_label("dest").fill("BOS")
    page.get_by_label("number").fill("4")
    page.get_by_role("button", name="Read").click()
    page.get_by_text("PRESENT").wait_for()
    keep(page, "values-light-desk")
    assert page.get_by_label("dest").input_value() == "BOS"


def test_the_catalogue_is_filtered_while_one_types_and_without_a_script_when_one_asks(
    page: Page, chromium: Browser, pages: FeatureServer
) -> None:
    page.goto("/")
    page.get_by_role("searchbox").fill("routes")
    page.get_by_text("1 found on this page").wait_for()
    assert page.locator("tbody tr:visible").count() == 1
    with chromium.new_context(base_url=pages.url, java_script_enabled=False) as context:
        context.set_default_timeout(MOST_MS)
        plain = context.new_page()
        plain.goto("/")
        plain.get_by_role("searchbox").fill("routes")
        plain.get_by_role("button", name="Search").click()
        plain.wait_for_url("**/?q=routes")
        assert plain.locator("tbody tr").count() == 1
