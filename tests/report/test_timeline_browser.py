"""The page of a time line in a real browser: it plays, jumps, says what is unsure, and connects to nothing."""

import importlib.util
from pathlib import Path

import pytest

from parallelnet.report import timeline as pages

pytest.importorskip("playwright.sync_api", reason="needs playwright")

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
shared = {}
for _name in ("test_html_browser", "test_timeline"):
    _spec = importlib.util.spec_from_file_location(f"timeline_{_name}", Path(__file__).with_name(f"{_name}.py"))
    shared[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(shared[_name])
browser, until, colour = (getattr(shared["test_html_browser"], name) for name in ("browser", "until", "colour"))
pytestmark, line = shared["test_html_browser"].pytestmark, shared["test_timeline"].line

AUDIO = "document.querySelector('audio')"


@pytest.fixture
def visit(browser, tmp_path):
    """Write a time line and open its page; in the end it must have asked for nothing but its own sound."""
    said, contexts = [], []

    def visit(timeline, **options):
        path = pages.write(timeline, tmp_path, title="talk.wav")
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.set_content("<p>")
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        own = (path.as_uri(), path.with_name("sound.mp3").as_uri())
        foreign = lambda url: not url.startswith(("data:", "blob:")) and url not in own  # noqa: E731
        page.on("request", lambda request: foreign(request.url) and said.append(f"request: {request.url}"))
        page.goto(path.as_uri(), wait_until="commit")
        page.locator("[data-script]").first.wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []


def test_click_jumps_and_the_moment_is_told(visit):
    page = visit(line())
    until(page, f"{AUDIO}.readyState > 0")
    box = page.locator("#overview").bounding_box()
    page.locator("#overview").click(position={"x": box["width"] * 0.1, "y": 40})
    until(page, f"Math.abs({AUDIO}.currentTime - 4) < 0.1")
    assert page.locator("#now b").text_content() == "anger"
    assert page.locator("#now .say").text_content() == "sure"
    page.locator("#overview").click(position={"x": box["width"] * 0.3, "y": 40})
    assert page.locator("#now .say").text_content() == "a pause, not judged"
    page.locator("#overview").click(position={"x": box["width"] * 0.75, "y": 40})
    assert page.locator("#now .say").text_content() == "unsure: happy or anger"
    assert page.locator("[aria-current]").text_content().startswith("0:20")


def test_keys(visit):
    page = visit(line())
    until(page, f"{AUDIO}.readyState > 0")
    page.locator("#overview").focus()
    page.keyboard.press("PageUp")
    until(page, f"Math.abs({AUDIO}.currentTime - 30) < 0.1")
    page.keyboard.press("ArrowLeft")
    until(page, f"Math.abs({AUDIO}.currentTime - 28) < 0.1")
    assert "unsure" in page.locator("#overview").get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    until(page, f"!{AUDIO}.paused && {AUDIO}.currentTime > 0.3")
    page.keyboard.press("Space")
    until(page, f"{AUDIO}.paused")


def test_a_passage_plays_from_its_start(visit):
    page = visit(line())
    page.locator(".passages button").nth(1).click()
    until(page, f"{AUDIO}.currentTime > 14.1 && !{AUDIO}.paused")


def test_the_enlarged_strip_follows(visit):
    page = visit(line(seconds=400.0))
    page.locator("#overview").focus()
    page.keyboard.press("End")
    until(page, "document.querySelector('.window').scrollLeft > 2000")
    box = page.locator("#detail").bounding_box()
    assert box["width"] == pytest.approx(4800, abs=2)


def test_a_sound_beside_the_page_plays(visit, monkeypatch):
    monkeypatch.setattr(pages, "EMBEDDED_BYTES", 1000)
    page = visit(line())
    until(page, f"{AUDIO}.readyState > 0 && Math.abs({AUDIO}.duration - 40) < 0.2")
    page.locator(".passages button").first.click()
    until(page, f"{AUDIO}.currentTime > 0.2")


def test_dark_and_small(visit):
    page = visit(line(), viewport={"width": 390, "height": 844}, color_scheme="light")
    light = colour(page, "body")
    page.locator("#theme").click()
    assert colour(page, "body") != light
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
