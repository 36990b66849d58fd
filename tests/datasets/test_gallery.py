"""The gallery as text: one file, nothing foreign, nothing that a tweet can break; never larger than promised."""

import base64
import hashlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from parallelnet.data.shards import Example
from parallelnet.datasets import inspection as gallery
from parallelnet.datasets.inspection import write_gallery
from parallelnet.report.html import jpeg

TESTS = Path(__file__).parents[1]


def _loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


built = _loaded("built_fixture", TESTS / "datasets" / "built_fixture.py")
html_fixture = _loaded("html_fixture", TESTS / "report" / "test_html.py")
HOSTILE, Page, data_of = html_fixture.HOSTILE, html_fixture.Page, html_fixture.data_of

CLASSES = ("anger", "happy", "hate", "sad")


def row(k=0, *, source="image", label="happy", seconds=1.0, **changes):
    """A row whose picture teacher finds its label most probable, and whose speech teacher finds `sad` so."""
    probs = tuple(0.7 if name == label else 0.1 for name in CLASSES)
    facts = {
        "row": k,
        "id": f"t{k}",
        "text": f"good day! #{k}",
        "word_times": (("good", 0.0, 0.3), ("day", 0.3, 0.9)),
        "duration_s": seconds,
        "tts_voice": "en-us",
        "language": "en",
        "sentiment": "positive",
        "speech_probs": (0.1, 0.2, 0.1, 0.6),
        "image_probs": probs,
        "label_source": source,
        "confidence": 0.7 - 0.01 * k,
    }
    picture = jpeg(np.full((30, 40, 3), 40 * k % 255, np.uint8), 480, quality=74)
    return gallery.Card(Example(**(facts | changes)), label, picture, gallery.sound_uri(built.flac(seconds), seconds))


def render(cards, excluded=(), **changes):
    facts = {
        "name": "posts",
        "classes": CLASSES,
        "labels": "emotion",
        "fingerprint": "ab" * 32,
        "n_kept": 100,
    } | changes
    return gallery.render(cards, SimpleNamespace(**facts), excluded=excluded)


def test_every_row_has_its_parts():
    rows = [row(0), row(1, source="speech", label="sad"), row(2, label="anger")]
    text = render(rows)
    page = Page(text)
    cards = [attributes for tag, attributes in page.elements if tag == "article"]
    assert [card["data-id"] for card in cards] == ["t0", "t1", "t2"]
    assert [card["data-agreed"] for card in cards] == ["no", "yes", "no"]
    assert [card["data-source"] for card in cards] == ["image", "speech", "image"]
    assert len(page.all("audio")) == 3
    assert {source["src"][:22] for source in page.all("audio")} == {"data:audio/flac;base64"}
    assert len([img for img in page.all("img") if img.get("src", "").startswith("data:image/jpeg")]) == 3
    assert len(page.with_key("data-mark")) == 3 * len(gallery.MARKS)
    assert len(page.with_key("data-from")) == 6
    assert "<b>3</b> of <b>100</b> samples" in text


def test_the_page_stands_alone_and_runs_its_own_script_only():
    text = render([row()])
    page = Page(text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    script = page.texts["script"][-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not page.all("link")
    links = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(link.startswith("data:") for link in links if link)


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(nasty):
    plain = Page(render([row()]))
    rows = [
        row(
            id=nasty,
            label=nasty,
            text=nasty,
            word_times=((nasty, 0, 1),),
            tts_voice=nasty,
            language=nasty,
            sentiment=nasty,
        )
    ]
    text = render(rows, name=nasty, classes=(*CLASSES[:3], nasty), excluded=(nasty,))
    page = Page(text)
    assert len(page.all("script")) == 2
    assert data_of(text)["excluded"] == [nasty]
    tags = {tag for tag, _ in page.elements}
    assert tags <= {tag for tag, _ in plain.elements} | {"select"}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]


def test_long_speech_is_written_smaller():
    short, long = gallery.sound_uri(built.flac(2.0), 2.0), gallery.sound_uri(built.flac(31.0), 31.0)
    assert base64.b64decode(short.partition(",")[2]) == built.flac(2.0)
    assert long.startswith("data:audio/mpeg;base64,")


def test_a_page_keeps_its_limit():
    rows = [row(k) for k in range(10)]
    some = gallery.within(rows, gallery._MARGIN + 4 * rows[0].n_bytes)
    assert [each.row.id for each in some] == ["t0", "t1", "t2", "t3"]
    assert len(render(some)) <= gallery._MARGIN + 4 * rows[0].n_bytes
    assert len(gallery.within(rows, 0)) == 1
    assert gallery.within([], 1_000_000) == []


def test_what_takes_space_is_counted():
    """`within` must never be too hopeful, whatever a row holds."""
    empty = len(render([]).encode())
    for each in (row(), row(text="\u202e" * 3000), row(text='"<&' * 3000), row(word_times=(("a", 0.0, 1.0),) * 800)):
        assert len(render([each]).encode()) - empty <= each.n_bytes


def test_a_built_set_becomes_a_page(tmp_path):
    report = built.build(tmp_path)
    path = write_gallery(tmp_path)
    assert path == tmp_path / "gallery.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    ids = [attributes["data-id"] for tag, attributes in page.elements if tag == "article"]
    assert sorted(ids) == sorted(draft.id for draft in built.kept_drafts())
    labels = [attributes["data-class"] for tag, attributes in page.elements if tag == "article"]
    assert labels[:4] == list(CLASSES)  # the classes take turns
    data = data_of(text)
    assert data["fingerprint"] == report.fingerprint
    assert data["excluded"] == ["t15"]
    assert "all <b>12</b> samples" in text


def test_the_same_set_is_the_same_page(tmp_path):
    texts = []
    for name in ("a", "b"):
        built.build(tmp_path / name)
        texts.append(write_gallery(tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    assert str(tmp_path).encode() not in texts[0]


def test_sentiment_has_no_teachers(tmp_path):
    built.build(tmp_path, "sentiment")
    page = Page(write_gallery(tmp_path).read_text(encoding="utf-8"))
    assert not [a for tag, a in page.elements if tag == "table"]
    ids = {attributes.get("id") for tag, attributes in page.elements if tag == "select"}
    assert ids == {"class", "language", "mark"}


def test_a_picture_that_cannot_be_read_leaves_a_card(tmp_path):
    built.build(tmp_path, kept=[built.draft(0, "sad", "speech", 0.9, image=b"no picture")])
    text = write_gallery(tmp_path).read_text(encoding="utf-8")
    assert "no picture that can be shown" in text


def test_nothing_was_kept(tmp_path):
    built.build(tmp_path, kept=[])
    text = write_gallery(tmp_path).read_text(encoding="utf-8")
    assert "No sample was kept." in text
    assert json.loads(json.dumps(data_of(text)))["marks"] == gallery.MARKS
