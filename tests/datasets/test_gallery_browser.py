"""The gallery in a real browser: filter, order, play, mark by mouse and keys, reload, export. Needs Chromium."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from parallelnet.datasets.steps import read_excluded

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=PATH"),
]


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fixtures = _loaded("test_gallery")
row, render, HOSTILE = fixtures.row, fixtures.render, fixtures.HOSTILE

ROWS = [
    row(0, label="happy"),
    row(1, label="sad", source="speech"),
    row(2, label="anger", language="es"),
    row(3, label="hate", text="a needle in the hay"),
    row(4, label="happy"),
]


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

    def visit(text, name="gallery.html", context=None, **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
            contexts.append(context)
        page = context.new_page()
        page.set_content("<p>")  # a fresh tab's very first load may never be reported by Chromium
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _foreign(request.url, path) and said.append(f"request: {request.url}"))
        page.goto(path.as_uri(), wait_until="commit")
        page.locator("#export").wait_for()
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


def shown(page):
    return page.evaluate("[...document.querySelectorAll('.card')].filter(c => !c.hidden).map(c => c.dataset.id)")


def exported(page, tmp_path):
    with page.expect_download() as download:
        page.locator("#export").click()
    assert download.value.suggested_filename == "marks.csv"
    path = tmp_path / "marks.csv"
    download.value.save_as(path)
    return path


def focused(page):
    return page.evaluate("document.activeElement.dataset.id")


def test_filters(visit):
    page = visit(render(ROWS))
    for select, value, left in (
        ("#class", "happy", ["t0", "t4"]),
        ("#source", "speech", ["t1"]),
        ("#agreed", "yes", ["t1"]),
        ("#language", "es", ["t2"]),
    ):
        page.locator(select).select_option(value)
        assert shown(page) == left
        page.locator(select).select_option("")
    page.locator("#text").fill("NEEDLE")
    assert shown(page) == ["t3"]
    assert page.locator("#count").text_content() == "1 of 5"
    page.locator("#text").fill("nowhere")
    assert page.locator("#nothing").is_visible()
    page.locator("#text").fill("")
    assert len(shown(page)) == 5


def test_order(visit):
    page = visit(render(ROWS))
    page.locator("#order").select_option("doubt")
    assert shown(page) == ["t4", "t3", "t2", "t1", "t0"]
    page.locator("#order").select_option("")
    assert shown(page) == ["t0", "t1", "t2", "t3", "t4"]


def test_marks_by_mouse_survive_a_reload_and_are_read_back(visit, tmp_path):
    page = visit(render(ROWS, excluded=("old",)))
    assert page.locator("#export").is_disabled()
    card = page.locator(".card").nth(1)
    card.locator("[data-mark=broken]").click()
    card.locator(".note").fill('cut, "off"')
    page.locator(".card").nth(3).locator("[data-mark=offensive]").click()
    page.reload()
    assert page.locator("#marked").text_content() == "2 marked"
    assert card.locator("[data-mark=broken]").get_attribute("aria-pressed") == "true"
    assert card.locator(".note").input_value() == 'cut, "off"'
    path = exported(page, tmp_path)
    assert path.read_text() == 'id,reason,note\nold,excluded,\nt1,broken,"cut, ""off"""\nt3,offensive,\n'
    assert read_excluded(path) == {"old", "t1", "t3"}
    page.locator("#mark").select_option("some")
    assert shown(page) == ["t1", "t3"]
    page.locator("#mark").select_option("offensive")
    assert shown(page) == ["t3"]
    page.locator("#mark").select_option("none")
    assert shown(page) == ["t0", "t2", "t4"]


def test_keys_alone_do_it_all(visit, tmp_path):
    page = visit(render(ROWS))
    page.keyboard.press("j")
    assert focused(page) == "t0"
    page.keyboard.press("j")
    page.keyboard.press("1")
    page.keyboard.press("n")
    page.keyboard.type("5 is happy")
    page.keyboard.press("Enter")
    assert focused(page) == "t1"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    page.keyboard.press("4")  # the other reason, not both
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")  # three columns at 1280 pixels
    assert focused(page) == "t4"
    page.keyboard.press("5")
    page.keyboard.press("0")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "t1"
    path = exported(page, tmp_path)
    assert path.read_text() == "id,reason,note\nt1,wrong-label,5 is happy\nt2,offensive,\n"


def test_keys_do_not_disturb_typing(visit):
    page = visit(render(ROWS))
    page.locator("#text").focus()
    page.keyboard.type("jk12n")
    assert page.locator("#text").input_value() == "jk12n"
    assert page.locator("#marked").text_content() == "nothing marked"


def test_marks_belong_to_the_data_set(visit):
    page = visit(render(ROWS[:2]), "first.html")
    page.locator("[data-mark=other]").first.click()
    second = visit(render(ROWS[2:]), "second.html", page.context)
    assert second.locator("#marked").text_content() == "1 marked, 1 of them on other pages"
    third = visit(render(ROWS, fingerprint="cd" * 32), "third.html", page.context)
    assert third.locator("#marked").text_content() == "nothing marked"


def test_clearing_asks_first(visit):
    page = visit(render(ROWS))
    page.locator("[data-mark=other]").first.click()
    page.locator("#clear").click()
    assert page.locator("#marked").text_content() == "1 marked"
    page.locator("#clear").click()
    assert page.locator("#marked").text_content() == "nothing marked"
    page.reload()
    assert page.locator("#marked").text_content() == "nothing marked"


def test_a_browser_that_keeps_nothing_says_so(visit, browser):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('off'); }})")
    page = visit(render(ROWS), context=context)
    assert page.locator("#unkept").is_visible()
    page.locator("[data-mark=other]").first.click()
    assert page.locator("#marked").text_content() == "1 marked"
    context.close()


AUDIO = "document.querySelectorAll('audio')"


def test_sound_plays_and_its_words_light_up(visit):
    page = visit(render([row(0, seconds=2.0, word_times=(("one", 0, 1), ("two", 1, 2))), row(1, seconds=2.0)]))
    page.keyboard.press("j")
    page.keyboard.press(" ")
    until(page, "document.querySelector('.now')?.textContent === 'one'")
    until(page, "document.querySelector('.now')?.textContent === 'two'")
    page.locator(".play").nth(1).click()  # one at a time
    until(page, f"{AUDIO}[0].paused && !{AUDIO}[1].paused")
    until(page, f"{AUDIO}[1].paused", 20)
    assert page.locator(".now").count() == 0
    page.locator(".track").first.fill("1.5")
    until(page, f"Math.abs({AUDIO}[0].currentTime - 1.5) < 0.05")


def test_the_picture_enlarges_and_closes(visit):
    page = visit(render(ROWS))
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").is_visible()
    assert page.locator("dialog img").get_attribute("src") == page.locator(".thumb img").first.get_attribute("src")
    page.keyboard.press("Escape")
    assert not page.locator("dialog img").is_visible()
    page.locator(".thumb").nth(2).click()
    page.locator("dialog button").click()
    assert not page.locator("dialog").is_visible()


def test_dark_and_blurred(visit):
    page = visit(render(ROWS), color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").click()
    assert page.evaluate(ground) != light
    page.locator("#blur").click()
    assert "blur" in page.evaluate("getComputedStyle(document.querySelector('.thumb img')).filter")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(visit, width, scheme):
    page = visit(render(ROWS), viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.locator("[data-mark=broken]").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # What is marked can be seen and pressed: nothing lies over it.
    for name in ("#export", "#clear", ".play >> nth=0"):
        page.locator(name).click(trial=True)


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_run_nothing(visit, nasty, tmp_path):
    rows = [row(id=nasty, label="happy", text=nasty, word_times=((nasty, 0, 1),), tts_voice=nasty, language=nasty)]
    page = visit(render(rows, name=nasty), viewport={"width": 390, "height": 844})
    page.locator("[data-mark=other]").first.click()
    page.locator(".note").first.fill(nasty)
    assert page.locator("script").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert exported(page, tmp_path).stat().st_size > 20


def test_without_script_it_can_be_read_and_heard(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(render(ROWS))
    assert page.locator(".card:visible").count() == 5
    assert page.locator("audio:visible").count() == 5
    assert page.locator("button.play:visible, .marks:visible, .bench:visible").count() == 0
    context.close()
