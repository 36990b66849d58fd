"""Texts whose encoding was broken on their way, mended: read as Latin-1 what was GBK, and what `ftfy` knows.

MVSA is the first case: its tweets were written as GBK, which has no emoji (they became `?`), and are read as Latin-1
since: `¡­` is an ellipsis, `¨¦` is e acute. `ftfy` leaves those, because no Western text goes wrong that way.
"""

from __future__ import annotations

import html
import re

# Two Latin-1 signs that are one GBK character: punctuation (row A1), letters with accents (A8), Cyrillic (A7), kana
# (A4, A5), a dash. No text that means Latin-1 has them side by side; "¡¿", "¡«", "¡ú", which Spanish has, are left out.
_GBK_PAIR = re.compile(
    "¡[\xa2-\xaa\xac-\xbe]|¨[\xa1-\xba]|§[\xa1-\xa6\xa8-\xc1\xd1-\xf1]|[¤¥][\xa1-\xa3\xa6-\xbf\xc0-\xf6](?![a-z])"
    "|(?<= )¨C(?= )"
)
# Chinese has no such tell-tale but its length: no Western word has six letters with accents in a row, save "éééééé".
_GBK_RUN = re.compile(r"[\x81-\xff]{6,}")
_LATIN_1 = re.compile(r"[\x00-\xff]*")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[0-9a-fA-F]{1,6})(?![A-Za-z0-9]);?")
_HARMLESS = str.maketrans({"\u00a0": " ", "\r": "\n"})


def mend(text: str) -> str:
    """Return the text as it was meant: GBK read as Latin-1, UTF-8 read as anything else, entities, curled quotes.

    Entities are replaced up to twice (`&amp;amp;` stands in real tables), also where their semicolon was cut off.
    A text that is not broken comes back with straight quotes and composed letters.
    """
    import ftfy

    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of an emoji, joined or replaced
    text = _from_gbk(text)
    for _ in range(2):
        text = _ENTITY.sub(lambda found: html.unescape(f"&{found[1]};"), text)
    return ftfy.fix_text(text, unescape_html=False, explain=False, normalization="NFC").translate(_HARMLESS)


def _from_gbk(text: str) -> str:
    if text.isascii() or not _LATIN_1.fullmatch(text):
        return text
    if not _GBK_PAIR.search(text):
        run = _GBK_RUN.search(text)
        if run is None or len(set(run[0])) < 4 or _is_utf8(text):
            return text
        try:
            return text.encode("latin-1").decode("gbk")
        except UnicodeDecodeError:
            return text
    # One row has one encoding. What was cut in the middle of a character, or lost, is left out.
    return text.encode("latin-1").decode("gb18030", "ignore")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
