"""The report as text: one file, nothing foreign, nothing that a name can break; small, whatever was explained."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from parallelnet.errors import OptionError
from parallelnet.explanation.parts import Budget, ClassValues, DivisionNode, Material, SpeechUnit
from parallelnet.explanation.result import Explanation
from parallelnet.report import html
from parallelnet.report.html import jpeg, outline
from parallelnet.types import FaceCrop, Prediction

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\" onmouseover='alert(3)'",
    "{{7*7}}{% raw %}",
    "\u202egnp.exe\u2028\u2029\x00",
    "x" * 10_000,
)


def explain(
    *, words=("good", "day"), grid=(2, 2), classes=("happy", "sad"), seconds=1.0, superpixels=0, method="exact",
    side=(80, 60), scale=0.05, score="probability", material=True, warnings=(),
):  # fmt: skip
    """An explanation whose numbers are random but add up; no words: no speech; no grid and superpixels: no picture."""
    rng = np.random.default_rng(0)
    m, k = len(words), superpixels or (grid[0] * grid[1] if grid else 0)
    modalities = ("speech",) * bool(m) + ("image",) * bool(k)
    cuts = np.linspace(0, seconds, m + 1)
    values = {}
    for name in classes:
        speech, image = scale * rng.normal(size=m), scale * rng.normal(size=k)
        base, change = 1 / len(classes), float(speech.sum() + image.sum())
        values[name] = ClassValues(
            base=base,
            speech_alone=base + change / 3,
            image_alone=base + change / 4,
            full=base + change,
            speech=float(speech.sum()),
            image=float(image.sum()),
            speech_units=tuple(map(float, speech)),
            image_units=tuple(map(float, image)),
            interactions=tuple(map(tuple, (scale * rng.normal(size=(m, k))).tolist())) if m and k else None,
            speech_errors=(scale,) * m if method == "sampled" else (),
            image_errors=(scale,) * k if method == "sampled" else (),
            nodes=(float(speech.sum()),) if m else (),
            lost=(0.0,) if m else (),
        )
    width, height = side
    wave = (0.3 * np.sin(np.arange(round(16_000 * seconds)) / 20)).astype(np.float32)
    labels = np.minimum(np.arange(128 * 128) * max(k, 1) // (128 * 128), k - 1)
    prediction = Prediction(
        emotion=classes[0],
        probs={name: 1 / len(classes) for name in classes},
        conformal_set=tuple(classes),
        uncertain=True,
        modalities=modalities,
        alone={each: {name: 1 / len(classes) for name in classes} for each in modalities} if m and k else {},
        face=FaceCrop("auto", "cropped", (0, 0, width // 2, height // 2)) if k else None,
        n_windows=1,
        checkpoint="toy",
    )
    speech_material = {"waveform": wave, "kept": wave * 0, "silenced": wave} if m else {}
    picture = {"picture": rng.integers(0, 255, (height, width, 3), dtype=np.uint8)} if k else {}
    return Explanation(
        prediction=prediction,
        target=classes[0],
        values=values,
        method=method,
        score=score,
        modalities=modalities,
        units="words" if any(words) else "segments" if m else "",
        speech_units=tuple(SpeechUnit(a, b, w, a, b) for a, b, w in zip(cuts, cuts[1:], words, strict=False)),
        image_grid=None if superpixels else grid,
        image_labels=tuple(labels.tolist()) if superpixels else (),
        image_box=(0, 0, width // 2, height // 2) if k else None,
        image_size=(width, height) if k else None,
        nodes=(DivisionNode("speech", -1, tuple(range(m))),) if m else (),
        kept=(True,) * (m - 1) + (False,) if m else (),
        heard=tuple(words[:-1]) if m else None,
        speech_baseline="silence" if m else "",
        image_baseline="black" if k else "",
        n_samples=8 if method == "sampled" else 0,
        budget=Budget(4, 16, 0, 0, 64, 1),
        warnings=tuple(warnings),
        material=Material(**speech_material, **picture) if material else None,
    )


class Page(HTMLParser):
    """What a browser would make of the text: elements with their attributes, and the text of scripts and titles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.within = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.setdefault(self.within[-1] if self.within else "", []).append(data)

    def all(self, tag):
        return [attributes for each, attributes in self.elements if each == tag]

    def with_key(self, name):
        return [attributes for _, attributes in self.elements if name in attributes]


def row(sample_id, folder="", emotion="", probability="", *, label="", status="ok", reason="", thumbnail=""):
    """A row of an index."""
    figures = {"emotion": emotion, "probability": str(probability), "label": label, "thumbnail": thumbnail}
    return {"id": sample_id, "folder": folder, "status": status, "reason": reason, **figures}


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


CASES = {
    "both": {},
    "speech alone": {"grid": None},
    "picture alone": {"words": ()},
    "segments": {"words": ("",) * 16},
    "superpixels": {"superpixels": 7},
    "one unit each": {"words": ("oh",), "grid": (1, 1)},
    "many words": {"words": tuple("abcde" * 30), "seconds": 2.0},
    "all zero": {"scale": 0.0},
    "log-odds": {"score": "log-odds"},
    "sampled": {"method": "sampled"},
    "paper": {"method": "paper"},
    "owen": {"method": "owen"},
    "from JSON": {"material": False},
    "superpixels from JSON": {"superpixels": 7, "material": False},
    "seven classes": {"classes": tuple("abcdefg")},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_explanation_has_all_of_its_units(case):
    explanation = explain(**case)
    page = Page(html.render(explanation, speech_name="a.wav", image_name="b.jpg"))
    for letter, units in (("s", explanation.speech_units), ("i", explanation.of_target.image_units)):
        keys = {each["data-u"] for each in page.with_key("data-u") if each["data-u"].startswith(letter)}
        assert keys == {f"{letter}{k}" for k in range(len(units))}
    with_sound = bool(explanation.speech_units) and explanation.material is not None
    assert len(page.all("audio")) == 3 * with_sound
    with_picture = explanation.image_size is not None and explanation.material is not None
    assert bool(page.all("image")) == with_picture


def test_shades_are_values_over_the_largest_of_speech_and_picture():
    explanation = explain()
    own = explanation.of_target
    largest = max(map(abs, own.speech_units + own.image_units))
    for each in Page(html.render(explanation)).with_key("data-u"):
        units = {"s": own.speech_units, "i": own.image_units}.get(each["data-u"][0])
        if units:
            value = units[int(each["data-u"][1:])]
            assert each["data-sign"] == ("-" if value < 0 else "+")
            assert float(each["style"].removeprefix("--m:")) == pytest.approx(
                abs(value) / largest, abs=6e-4
            )  # 3 digits


def test_script_data_hold_the_explanation_and_every_class():
    explanation = explain()
    data = data_of(html.render(explanation))
    assert Explanation.from_json(json.dumps(data["explanation"])) == explanation
    for values, name in zip(data["page"]["values"], explanation.values, strict=True):
        assert values["s1"] == pytest.approx(explanation.values[name].speech_units[1], abs=1e-7)  # rounded to 7 digits
        assert values["x1.2"] == pytest.approx(explanation.values[name].interactions[1][2], abs=1e-7)


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text(nasty):
    tame = Page(html.render(explain(), title="t", speech_name="s", image_name="i"))
    wild_explanation = explain(words=(nasty, "day"), classes=(nasty, "sad"), warnings=(nasty,))
    text = html.render(wild_explanation, title=nasty, speech_name=nasty, image_name=nasty)
    wild = Page(text)
    # The same elements but for the warning, and no attribute that the tame page does not have.
    extra = [tag for tag, _ in wild.elements].count("p") - [tag for tag, _ in tame.elements].count("p")
    assert extra == 1
    for tag in ("img", "script", "iframe", "a", "style", "svg", "bdi"):
        assert len(wild.all(tag)) == len(tame.all(tag)), tag
    names = {name for _, attributes in tame.elements for name in attributes}
    assert {name for _, attributes in wild.elements for name in attributes} == names
    assert "49" not in "".join(wild.texts.get("h1", []))
    assert "\u2028" not in re.search(r'id="data">(.*?)<', text, re.S)[1]
    assert nasty in data_of(text)["explanation"]["classes"]


def test_bytes_that_are_no_text_do_not_stop_the_page():
    page = html.render(explain(), speech_name=b"caf\xe9.wav".decode("utf-8", "surrogateescape"))
    assert "caf?.wav" in page


@pytest.mark.parametrize("text", [html.render(explain()), html.render_index([row("a", "a", "sad", 0.5)])])
def test_nothing_is_fetched_and_only_the_own_script_may_run(text):
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "poster", "data", "action", "background", "xlink:href"):
            assert attributes.get(name, "data:").startswith("data:")
        if tag in ("image", "use", "link"):
            assert attributes["href"].startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(|https?://|\bfetch\(|XMLHttpRequest|innerHTML", text.replace("arXiv", ""))
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "http" not in policy


def test_sounds_are_the_signals():
    explanation = explain()
    sounds = [each["src"] for each in Page(html.render(explanation)).all("audio")]
    for uri, wave in zip(sounds, ("waveform", "kept", "silenced"), strict=True):
        assert uri.startswith("data:audio/flac;base64,")
        read, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])), dtype="float32")
        assert rate == 16_000
        assert np.abs(read - getattr(explanation.material, wave)).max() <= 2**-15  # one step of 16 bits


def test_inverted_speech_has_its_player():
    explanation = explain()
    material = dataclasses.replace(explanation.material, inverted=explanation.material.waveform[:8000])
    text = html.render(dataclasses.replace(explanation, material=material))
    assert len(Page(text).all("audio")) == 4
    assert "tried and rejected" in text


def test_five_seconds_with_a_large_photo_stay_under_three_megabytes():
    text = html.render(explain(words=("",) * 16, grid=(4, 4), seconds=5.0, side=(3000, 2000)))
    assert len(text) < 3e6  # noise: the worst that a photo can be


def test_long_speech_stays_small_and_becomes_mp3():
    text = html.render(explain(words=("",) * 64, seconds=40.0, grid=None))
    assert "data:audio/mpeg;base64," in text
    # 18 kbit/s of speech, twice (kept and silenced share it), as base64, is 240 kB for 40 seconds; the tone is easier.
    assert len(text) < 0.5e6


def test_waveform_has_no_more_columns_for_long_speech():
    short, long = (Page(html.render(explain(seconds=s, grid=None))).all("path") for s in (1.0, 20.0))
    size = [max(len(each["d"]) for each in paths if "rest" in each.get("class", "")) for paths in (short, long)]
    assert size[1] < 1.1 * size[0]


def test_why_says_what_the_numbers_say():
    explanation = explain(scale=0.1)
    text = re.sub(r"<.*?>", "", re.search(r'class="why" data-class="0">(.*?)</p>', html.render(explanation), re.S)[1])
    own = explanation.of_target
    signed = [f"{100 * value:+.1f}".replace("-", "\u2212") for value in (own.speech, own.image)]
    assert f"From {own.base:.1%} with silence and a black picture, happy" in text
    assert f"to {own.full:.1%}" in text
    assert f"the speech brings {signed[0]} points" in text
    assert f"the picture brings {signed[1]} points" in text
    more = "more" if own.synergy > 0 else "less"
    assert f"{abs(100 * own.synergy):.1f} points {more} than the sum" in text


def test_why_names_no_part_that_did_nothing_or_may_be_chance():
    assert "No part of this sample moves" in html.render(explain(scale=0.0))
    sampled = explain(method="sampled")
    own = dataclasses.replace(sampled.of_target, speech_errors=(1.0, 1.0), image_errors=(0.0, 1.0, 1.0, 1.0))
    text = html.render(dataclasses.replace(sampled, values={**sampled.values, sampled.target: own}))
    why = re.search(r'class="why".*?</p>', text, re.S)[0]
    assert "no part stands out" in why
    assert "largest part is row\u00a01,\u00a0column\u00a01 (" in why


def test_what_is_said_twice_has_its_second():
    text = html.render(explain(words=("no", "no"), grid=None))
    assert "\u201c<bdi>no</bdi>\u201d at\u00a00.5\u00a0s" in text


def test_outlines_follow_the_pixels():
    inside = np.zeros((4, 5), bool)
    inside[1:3, 1:4] = True
    assert sorted(re.findall(r"\d \d", outline(inside))) == ["1 1", "1 3", "4 1", "4 3"]
    inside[1, 2] = False  # a bay
    area = 0.0
    for loop in outline(inside).strip("M").split("zM"):
        points = [tuple(map(int, each.split())) for each in loop.rstrip("z").split("L")]
        area += sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True)) / 2
    assert area == inside.sum()


def test_colours_are_known_or_refused():
    assert 'data-colours="safe"' in html.render(explain(), colours="safe")
    with pytest.raises(OptionError, match="Unknown colours 'pink'"):
        html.render(explain(), colours="pink")


def test_index_lists_links_and_counts(picture):
    rows = [
        row("a", "a b/#1?", "sad", 0.75, label="sad", thumbnail=jpeg(picture, 72)),
        row("b", "b", "happy", 0.5, label="sad"),
        row("c", status="failed", reason="no sound"),
    ]
    text = html.render_index(rows, title="two")
    page = Page(text)
    assert [each["href"] for each in page.all("a")] == ["a%20b/%231%3F/report.html", "b/report.html"]
    assert len(page.all("img")) == 1
    assert "<b>3</b> samples" in text
    assert "50.0%" in text
    assert "no sound" in text
    assert [each["data-kind"] for each in page.all("tr")[1:]] == ["", "wrong", "failed"]


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
def test_index_keeps_hostile_rows_inert(nasty):
    good = row(nasty, "javascript:alert(1)", nasty, 0.5, label=nasty, thumbnail="https://example.org/x.png")
    failed = row(nasty, nasty, status=nasty, reason=nasty)
    page = Page(html.render_index([good, failed], title=nasty))
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert page.all("a")[0]["href"] == "javascript%3Aalert%281%29/report.html"
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert Page(html.render_index([])).all("tr")
