"""One explanation as one HTML file that needs nothing else: no network, no other file, no program but a browser.

Everything that is shown is written into the page here, for the class that was explained; the page's script repaints it
for the other classes, plays, and lights up. Without a script, and on paper, the essentials are still there.

Names, transcripts and class names come from anywhere. Jinja escapes them, the script gets them in one JSON block and
only ever writes them as text, and the page's content policy runs no script but its own, known by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import records
from ..errors import unknown
from ..explanation.result import Explanation
from .drawing import Colours
from .html_signals import jpeg
from .html_view import View, short


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One line of the index of many explanations.

    Attributes:
        id: of the sample.
        link: its page, as a path relative to the index; "" where there is none.
        emotion: what the model says; "" where it could not.
        probability: of that; None where it could not.
        status: `ok`, or what went wrong.
        reason: why, in one line; "" for `ok`.
        truth: the label; "" where unknown.
        thumbnail: what `thumbnail` gave, or "".
    """

    id: str
    link: str = ""
    emotion: str = ""
    probability: float | None = None
    status: str = "ok"
    reason: str = ""
    truth: str = ""
    thumbnail: str = ""


def write(
    explanation: Explanation,
    path: str | Path,
    *,
    title: str = "",
    speech_name: str = "",
    image_name: str = "",
    colours: Colours = "paper",
) -> Path:
    """Write `render`'s page as UTF-8 and return its path."""
    page = render(explanation, title=title, speech_name=speech_name, image_name=image_name, colours=colours)
    Path(path).write_text(page, encoding="utf-8")
    return Path(path)


def write_index(rows: Iterable[IndexRow], path: str | Path, *, title: str = "") -> Path:
    """Write `render_index`'s page as UTF-8, whole or not at all, and return its path."""
    records.write_text(Path(path), render_index(rows, title=title))
    return Path(path)


def render(
    explanation: Explanation,
    *,
    title: str = "",
    speech_name: str = "",
    image_name: str = "",
    colours: Colours = "paper",
) -> str:
    """Return the page of one explanation.

    Args:
        explanation: what is shown; without material there are neither players nor picture, and the page says so.
        title: heading; the names of the files when left out.
        speech_name: name of the speech file, for the reader.
        image_name: name of the picture file, for the reader.
        colours: `paper` (yellow for, blue against) or `safe` (told apart with any colour vision); the page can switch.

    Raises:
        OptionError: there are no such colours.
    """
    if colours not in get_args(Colours):
        raise unknown("colours", colours, get_args(Colours), "colours")
    view = View(explanation)
    names = [name for name in (speech_name, image_name) if name]
    data = {"explanation": explanation.to_dict(), "page": view.for_script()}
    return render_page(
        "report.html.j2",
        explanation=explanation,
        view=view,
        title=title or " + ".join(names) or "Explanation",
        speech_name=speech_name,
        image_name=image_name,
        colours=colours,
        data=script_json(data),
    )


def render_index(rows: Iterable[IndexRow], *, title: str = "") -> str:
    """Return the page that lists many explanations.

    Args:
        rows: in the order in which they are shown.
        title: heading.
    """
    rows = list(rows)
    judged = [row for row in rows if row.truth and row.emotion]
    return render_page(
        "index.html.j2",
        rows=rows,
        title=title or "Explanations",
        emotions=sorted({row.emotion for row in rows if row.emotion}),
        n_failed=sum(row.status != "ok" for row in rows),
        n_judged=len(judged),
        n_right=sum(row.truth == row.emotion for row in judged),
    )


def thumbnail(picture: npt.NDArray[np.uint8], side: int = 72) -> str:
    """Return a picture, uint8 `[h, w, 3]`, as a data URI of a JPEG with at most `side` pixels a side."""
    return jpeg(picture, side, quality=70)


# --- pages ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("parallelnet", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "link": _link}
    return environment


def render_page(template: str, **content: Any) -> str:
    """Return a page that needs nothing else: the template with its style and script inside, which alone may run."""
    environment = _environment()
    sources = {}
    for kind in ("css", "js"):
        name = f"{template.split('.')[0]}.{kind}"
        assert environment.loader is not None
        sources[kind] = Markup(environment.loader.get_source(environment, name)[0])
    digest = base64.b64encode(hashlib.sha256(sources["js"].encode()).digest()).decode()
    page = environment.get_template(template).render(**sources, script_hash=digest, **content)
    return page.encode("utf-8", "replace").decode()  # file names may hold bytes that are no text


def script_json(data: Any) -> Markup:
    """Return JSON that no HTML parser takes for markup, and no old script engine for the end of a line."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _link(path: str) -> str:
    """Return a relative path as an address; what would be a scheme (`javascript:`) is part of the path."""
    return quote(path.encode("utf-8", "replace"), safe="/")
