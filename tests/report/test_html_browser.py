"""The report in a real browser: it plays, repaints, lights up, stays inert and offline. Needs Debian's chromium."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from parallelnet.report import html

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=PATH"),
]

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("html_fixture", Path(__file__).with_name("test_html.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
explain, HOSTILE, data_of = fixtures.explain, fixtures.HOSTILE, fixtures.data_of


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # As root, in a container: no sandbox. Sound needs no gesture, as a test has no hands.
        flags = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page from a file; in the end it must have been silent: no error, no dialog, no request but for itself."""
    said, contexts = [], []

    def visit(text, **options):
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_content("<p>")  # a fresh tab's very first load may never be reported by Chromium 156
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _foreign(request.url, path) and said.append(f"request: {request.url}"))
        page.goto(path.as_uri(), wait_until="commit")
        page.locator("[data-script]").first.wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []


def _foreign(url, path):
    return not url.startswith(("data:", "blob:")) and url != path.as_uri()


def until(page, condition, seconds=10):
    """Ask again until true: the page's policy forbids playwright's own waiting, which needs eval."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def colour(page, selector, of="backgroundColor"):
    page.wait_for_timeout(250)  # the transition between two colours
    return page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{of}")


AUDIO = "document.querySelectorAll('audio')"


def test_sound_plays_and_the_cursor_follows(visit):
    page = visit(html.render(explain(seconds=3.0)))
    page.locator(".player .play").first.click()
    until(page, f"{AUDIO}[0].currentTime > 0.3")
    place = "document.querySelector('.original .cursor').style.left"
    first = float(page.evaluate(place).rstrip("%"))
    page.wait_for_timeout(400)
    assert float(page.evaluate(place).rstrip("%")) > first > 0
    page.locator(".player.kept .play").click()  # one at a time
    until(page, f"{AUDIO}[0].paused && !{AUDIO}[1].paused")
    page.locator(".player.kept .play").click()
    until(page, f"{AUDIO}[1].paused")


def test_click_and_keys_seek(visit):
    page = visit(html.render(explain(seconds=3.0)))
    until(page, f"{AUDIO}[0].readyState > 0")
    track = page.locator(".original .track")
    box = track.bounding_box()
    track.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    until(page, f"Math.abs({AUDIO}[0].currentTime - 1.5) < 0.05")
    track.focus()
    page.keyboard.press("ArrowRight")
    until(page, f"Math.abs({AUDIO}[0].currentTime - 2.0) < 0.05")
    assert float(track.get_attribute("aria-valuenow")) == pytest.approx(2.0, abs=0.05)
    page.keyboard.press("Space")
    until(page, f"!{AUDIO}[0].paused")


def test_a_word_plays_its_own_time_only(visit):
    page = visit(html.render(explain(words=("one", "two", "three"), seconds=3.0)))
    page.locator(".chips button").nth(1).click()
    until(page, f"{AUDIO}[0].currentTime > 1.05 && !{AUDIO}[0].paused")
    until(page, f"{AUDIO}[0].paused")
    # It stops at the first frame drawn after the word's end; a busy machine draws late.
    assert 1.95 < page.evaluate(f"{AUDIO}[0].currentTime") < 2.5


def test_long_speech_as_mp3_seeks_to_its_words(visit):
    page = visit(html.render(explain(words=tuple("abcdefgh"), seconds=32.0, grid=None)))
    page.locator(".chips button").nth(5).click()
    until(page, f"{AUDIO}[0].currentTime > 20.1 && {AUDIO}[0].currentTime < 24.5")


def test_choosing_a_class_repaints_everything(visit):
    explanation = explain()
    text = html.render(explanation)
    page = visit(text)
    before = [
        colour(page, ".chips button"),
        colour(page, ".regions path", "fillOpacity"),
        colour(page, ".matrix td[data-u]"),
    ]
    page.locator(".classes label").nth(1).click()
    after = [
        colour(page, ".chips button"),
        colour(page, ".regions path", "fillOpacity"),
        colour(page, ".matrix td[data-u]"),
    ]
    assert all(a != b for a, b in zip(before, after, strict=True))
    value = explanation.values["sad"].speech_units[0]
    digits = data_of(text)["page"]["digits"]
    assert page.locator(".chips small").first.text_content() == f"{100 * value:+.{digits}f}".replace("-", "\u2212")
    assert page.locator(".why:visible").count() == 1
    assert "sad" in page.locator(".why:visible").text_content()
    assert "happy" in page.locator("#other:visible").text_content()  # the sound stays that of the target
    page.locator(".classes label").nth(0).click()
    assert colour(page, ".chips button") == before[0]


def test_a_word_lights_up_its_regions_and_back(visit):
    explanation = explain()
    page = visit(html.render(explanation))
    row = explanation.interactions[0]
    page.locator(".chips button").first.hover()
    largest = max(abs(value) for line in explanation.interactions for value in line)
    for place, value in enumerate(row):
        region = page.locator(".regions path").nth(place)
        part = float(region.evaluate("e => e.style.getPropertyValue('--m')"))
        assert part == pytest.approx(abs(value) / largest, abs=1e-3)
        assert region.get_attribute("data-sign") == ("-" if value < 0 else "+")
    best = max(range(len(row)), key=lambda k: abs(row[k]))
    assert explanation.image_unit_name(best) in page.locator("#readout").text_content().replace("\xa0", " ")
    page.locator(".regions path").nth(3).hover()
    part = float(page.locator(".chips button").nth(1).evaluate("e => e.style.getPropertyValue('--m')"))
    assert part == pytest.approx(abs(explanation.interactions[1][3]) / largest, abs=1e-3)
    page.locator("h1").hover()
    assert page.locator(".lit").count() == 0


def test_keys_reach_words_and_regions(visit):
    page = visit(html.render(explain(words=("one", "two", "three"))))
    page.locator(".chips button").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.u") == "s1"
    assert "two" in page.locator("#readout").text_content()
    page.locator(".regions path").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.u") == "i3"
    assert page.locator("[data-u=i3]").get_attribute("aria-label").startswith("row")


def test_touch_pins_a_word(visit):
    page = visit(html.render(explain()), viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator(".chips button").first.tap()
    assert page.locator(".chips button.lit").count() == 1
    assert "good" in page.locator("#readout").text_content()


def test_controls(visit):
    page = visit(html.render(explain()), color_scheme="light")
    light = colour(page, "body")
    page.locator("#theme").click()
    assert colour(page, "body") != light
    chip = colour(page, ".chips button")
    page.locator("#colours").click()
    assert colour(page, ".chips button") != chip
    near = page.locator("#picture").get_attribute("viewBox")
    page.locator("#zoom").click()
    assert page.locator("#picture").get_attribute("viewBox") == "0 0 80 60" != near
    region = colour(page, ".regions path", "fillOpacity")
    page.locator("#opacity").fill("0")
    assert colour(page, ".regions path", "fillOpacity") == "0" != region


def test_download_is_the_explanation(visit):
    explanation = explain()
    page = visit(html.render(explanation))
    with page.expect_download() as download:
        page.locator("#download").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert type(explanation).from_json(text) == explanation


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_run_nothing(visit, nasty):
    explanation = explain(words=(nasty, "day"), classes=(nasty, "sad"), warnings=(nasty,))
    page = visit(html.render(explanation, title=nasty, speech_name=nasty, image_name=nasty))
    page.locator(".chips button").first.hover()
    page.locator(".classes label").nth(1).click()
    assert page.locator("img, iframe").count() == 0
    assert page.locator("script").count() == 2  # the data and the page's own
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown = html.render_index(
        [fixtures.row(nasty, "javascript:alert(1)", nasty, 0.5, label="x", reason=nasty)], title=nasty
    )
    assert visit(shown).locator("img, iframe").count() == 0


@pytest.mark.parametrize("case", fixtures.CASES.values(), ids=fixtures.CASES)
def test_fits_a_phone_and_says_no_error(visit, case):
    page = visit(html.render(explain(**case), speech_name="a.wav"), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_paper_has_the_numbers_and_no_players(visit, tmp_path):
    page = visit(html.render(explain()))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".play:visible, audio:visible, #theme:visible").count() == 0
    assert page.locator("table.numbers:visible").count() == 1
    assert page.locator(".original .wave:visible").count() == 1


def test_without_script_the_essentials_are_there(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(html.render(explain()))
    assert page.locator(".why:visible").count() == 1
    assert page.locator("audio:visible").count() == 3
    assert page.locator("button.play:visible").count() == 0
    context.close()


def test_index_filters(visit):
    rows = [
        fixtures.row("one", "1", "sad", 0.5, label="sad"),
        fixtures.row("two", "2", "happy", 0.5, label="sad"),
    ]
    page = visit(html.render_index(rows))
    page.locator("#kind").select_option("wrong")
    assert page.locator("tbody tr:visible").count() == 1
    assert "two" in page.locator("tbody tr:visible").text_content()
    page.locator("#kind").select_option("")
    page.locator("#text").fill("ONE")
    assert page.locator("tbody tr:visible").count() == 1
    assert "one" in page.locator("tbody tr:visible").text_content()
