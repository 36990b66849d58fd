"""What of a post is spoken, and how: links, mentions, hash tags, emoji and signs as words or not at all.

Decisions, where no source says what is right (looked at in the real tweets of MVSA):

- Links are dropped, also those that Twitter cut off (`http:/…`). A retweet's head (`RT @name:`) and the names that a
  reply begins with are addresses and dropped; a name inside the sentence is part of it and is spoken (`with
  @taylor_swift13` -> with taylor swift), without the digits at its end, which nobody says. Names alone are addresses.
- A hash tag is spoken as words: `#ThrowbackThursday` -> throwback thursday, `#BMW` and `#PROFOUNDLOVE` as they are.
- An emoji is spoken by its name in Unicode's English annotation, without the skin tone, once where it is repeated; an
  emoticon by the name of its emoji. Or all are dropped.
- Elongated words lose what is beyond two letters (`coooool` -> cool; Brody and Diakopoulos, EMNLP 2011, show that the
  length carries feeling, but a synthesiser cannot say it), or beyond one where that is the usual word (`sooo` -> so).
- Punctuation stays where it is one sign at the end of a word. A `?` that stands alone is dropped: in MVSA it is
  what is left of an emoji.
"""

import html
import re
import unicodedata
from contextlib import suppress
from functools import cache
from typing import Any, Literal

# Two Latin-1 signs that are one GBK character: punctuation (row A1), letters with accents (A8), Cyrillic (A7), kana
# (A4, A5), a dash. No text that means Latin-1 has them side by side; "¡¿", "¡«", "¡ú", which Spanish has, are left out.
_GBK_PAIR = re.compile(
    "¡[\xa2-\xaa\xac-\xbe]|¨[\xa1-\xba]|§[\xa1-\xa6\xa8-\xc1\xd1-\xf1]|[¤¥][\xa1-\xa3\xa6-\xbf\xc0-\xf6](?![a-z])"
    "|(?<= )¨C(?= )"
)
# Chinese has no such tell-tale but its length: no Western word has six letters with accents in a row, save "éééééé".
_GBK_RUN = re.compile(r"[\x81-\xff]{6,}")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[0-9a-fA-F]{1,6})(?![A-Za-z0-9]);?")
_HARMLESS = str.maketrans({"\u00a0": " ", "\r": "\n"})

_LINK = re.compile(r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)[^\s\"'<>\uff09」】、。]*", re.IGNORECASE)
_CUT_LINK = re.compile(
    r"(?<![^\s.,!?:;])h(?:t(?:t(?:ps?(?::/{0,2}[^\s]{0,40})?)?)?)?(?:…|\.\.\.)|\[link removed\]", re.IGNORECASE
)
_HEAD = re.compile(r"[\s\"'.:\u201c]*(?:\b(?:RT|MT)\b[\s:]*)?(?:@\s?\w+\s*:|(?<=RT )@\w+|(?<=MT )@\w+)")
_REPLIED = re.compile(r"[\s.\"]*(?:@\w+[\s,]+)+(?!(?:is|are|was|were|has|had|will|and)\b|[&\s])")
_RETWEET = re.compile(r"\b(?:RT|MT)[ \t]*@\w+[ \t]*:?")
_MENTION = re.compile(r"(?<!\w)@(\w+)")
_ONLY_MENTIONS = re.compile(r"(?:[\s.,:;!?\"'-]*@\w+)+[\s.,:;!?\"'-]*")
_TAG = re.compile(r"[#\uff03](\w+)")
_PARTS = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")

_EMOTICONS = {
    r"[:=]'-?\(": "crying face",
    r"[:=]'-?\)": "tears of joy",
    r"[:=]-?[)\]]+|\(:|\^_*\^": "smiling face",
    r"[:=]-?[(\[]+|\):": "frowning face",
    r";-?[)\]]+": "winking face",
    r"[:=]-?D+|[xX]D+": "grinning face",
    r"[:;=]-?[Pp]": "face with tongue",
    r":-?[oO]": "surprised face",
    r":-?[/\\]": "confused face",
    r":-?\*": "kissing face",
    r"</3": "broken heart",
    r"<3+": "heart",
}
_EMOTICON = re.compile(
    r"(?<![^\s.,!?)\"a-zA-Z\u2026])(?:" + "|".join(f"({pattern})" for pattern in _EMOTICONS) + r")(?![\w/])"
)
_VARIANTS = "\ufe0e\ufe0f"  # text or picture: invisible
_NO_EMOJI = "©®™"  # signs, though Unicode lists them
_SKIN = re.compile(r"_(?:light|medium-light|medium|medium-dark|dark)_skin_tone")
_REPLACEMENTS = {  # one after the other, whatever the case
    # what stands for a word, with the words; the engine would leave it out or spell it
    r"(?<!\w)w/o(?!\w)": " without ",
    r"(?<!\w)w/(?=\s|\w)": " with ",
    r"(?<!\S)w(?=\s)": " with ",
    r"(?<!\w)b/c(?!\w)": " because ",
    r"(?<!\S)@(?!\S)": " at ",
    r"#\s?(?=\d)": " number ",
    r"&": " and ",
    r"(?<![+\w])\+(?=\s|\d)|(?<=\d)\+": " plus ",
    r"(?<=\s)=(?=\s)": " equals ",
    r"[™®©℠]": " ",
    r"\s+": " ",  # or the search for pauses would take the square of a run of spaces
    r" [-\u2013—|•·~]+ |[—\u2013]+|-{2,}|[|•]": ", ",  # pauses
    r"(?-i:(?<=[a-z])\?+(?=[a-z]))": "",  # a letter that an encoding did not have: se?or
    # the end of a sentence, or of a part of it, without the space that should follow
    r"(?-i:(?<=[^\W\d_])[,;!:]+(?=[^\W\d_])|(?<=[^\W_])\?+(?=[A-Z])|(?<=\w\w)\.(?=[A-Z][a-z])"
    r"|(?<=\w)(?:\.\.+|…)(?=\w))": r"\g<0> ",
}
_CURRENCY = "$£€¥₹"
_ENDING = ".,;:!?…。、،؟؛।"  # full-width signs are plain ones by then
_ENDS = re.compile(f"[{_ENDING}]+")
_KEPT = frozenset(_ENDING + "'-%°" + _CURRENCY)
_RUN = re.compile(r"(\D)\1{2,}")
_LAUGHTER = re.compile(r"(\w\w\w?)\1{3,}")  # hahahaha
_SINGLE = frozenset(  # words that are usually meant where one of their letters is drawn out
    re.findall(
        r"\w+",
        "so no go yes yas love loved please now you me my we be he she the this that day omg all ok bye hi hey "
        "hello what why who how just very much more new one best ever happy sad cute life fun not too man girl "
        "wow yum aw ah oh really thanks baby babe beautiful amazing lol ",
    )
)
_JOINER = re.compile(r"(?<=[\u0590-\u0dff])[\u200c\u200d](?=[\u0590-\u0dff])")  # orthography of Persian, Hindi, ...


def clean_for_speech(text: str, *, emoji: Literal["name", "drop"] = "name") -> str:
    """Return what is spoken of a post: words separated by single spaces, or "" where nothing can be said.

    Every token between spaces holds a letter or a digit, so each can have a time in the speech. Scripts other than
    Latin are kept in the order of reading. Time is linear in the length of the text.

    Args:
        text: as found; broken encodings and entities are mended first.
        emoji: `name` speaks an emoji's name, `drop` leaves it out.
    """
    text = _without_addresses(mend(text))
    if _ONLY_MENTIONS.fullmatch(text):
        return ""
    names = list(_EMOTICONS.values())
    text = _EMOTICON.sub(lambda found: f" {names[(found.lastindex or 0) - 1]} " if emoji == "name" else " ", text)
    text = _emoji(text, emoji)
    # A user's name as it is spoken: `taylor_swift13` -> taylor swift.
    text = _MENTION.sub(lambda found: f" {_words(found[1].rstrip('0123456789_') or found[1])}", text)
    # "#1" is no tag on Twitter.
    text = _TAG.sub(lambda found: f" {'number ' + found[1] if found[1].isdecimal() else _words(found[1])}", text)
    for pattern, words in _REPLACEMENTS.items():
        text = re.sub(pattern, words, text, flags=re.IGNORECASE)
    return _tidy(_speakable(unicodedata.normalize("NFKC", text))).rstrip(",;:")


def normalised(text: str) -> str:
    """Return the key under which near duplicates of a text meet: letters and digits, case folded, no spaces.

    Links, mentions and the head of a retweet are left out. Where neither letter nor digit is left, the signs are the
    key (emoji), "" where there is nothing.
    """
    text = _MENTION.sub(" ", _without_addresses(mend(text)))
    text = unicodedata.normalize("NFKC", text).casefold().translate(dict.fromkeys(map(ord, _VARIANTS)))
    key = "".join(sign for sign in text if unicodedata.category(sign)[0] in "LNM")
    return key or "".join(sign for sign in text if unicodedata.category(sign)[0] in "SP" and sign != "@")


def _without_addresses(text: str) -> str:
    """Return the text without links, heads of retweets, and the names that a reply begins with."""
    text = _CUT_LINK.sub(" ", _LINK.sub(" ", text))
    at = 0
    while found := _HEAD.match(text, at):
        at = found.end()
    replied = _REPLIED.match(text, at)
    return " ".join(_RETWEET.sub(" ", text[replied.end() if replied else at :]).split())


def _words(joined: str) -> str:
    """Return a joined name as words: split at digits, underscores and capitals; capitals of short names stay."""
    words = [word for part in _PARTS.findall(joined) for word in _CAMEL.split(part)]
    return " ".join(
        word if word.isupper() and 1 < len(word) <= 5 else word.lower()  # `NASA` keeps its capitals
        for word in words
    )


def _emoji(text: str, how: str) -> str:
    """Return the text with each emoji as its name between spaces, or without; the same one in a row counts once."""
    if text.isascii():
        return text
    # Not `emoji.replace_emoji`: its time grows with the square of the text (1.3 s for 10,000 emoji, 18 s for 40,000).
    names, longest = _emoji_names()
    kept: list[str] = []
    at, before = 0, ""
    while at < len(text):
        n = longest.get(text[at], 0)
        while n and text[at : at + n] not in names:
            n -= 1
        if not n:
            before = before if text[at] in _VARIANTS else ""
            kept.append(text[at])
            at += 1
            continue
        name = names[text[at : at + n]]
        kept.append(" " if how == "drop" or name == before else f" {name} ")
        at, before = at + n, name
    return "".join(kept)


@cache
def _emoji_names() -> tuple[dict[str, str], dict[str, int]]:
    """Return the English name of each emoji, and the most characters of one that begins with a given character."""
    from emoji import EMOJI_DATA

    names: dict[str, str] = {}
    longest: dict[str, int] = {}
    for signs, data in EMOJI_DATA.items():
        if not signs.isascii() and signs.rstrip(_VARIANTS) not in _NO_EMOJI:
            names[signs] = _SKIN.sub("", data["en"].strip(":")).removeprefix("keycap_").replace("_", " ")
            longest[signs[0]] = max(longest.get(signs[0], 0), len(signs))
    return names, longest


def _speakable(text: str) -> str:
    """Return the text with every sign that cannot be said as a space, and what is invisible left out."""
    joined = {found.start() for found in _JOINER.finditer(text)}
    kept: list[str] = []
    n_marks = 0
    for at, sign in enumerate(text):
        kind, in_word = unicodedata.category(sign), bool(kept) and kept[-1] != " "
        n_marks = n_marks + 1 if kind[0] == "M" else 0
        if kind in ("Cf", "Cn") or sign in _VARIANTS:
            kept += sign * (at in joined)
        elif kind[0] == "M":
            kept += sign * (in_word and n_marks <= 2)  # on one letter; Vietnamese and Arabic have two
        elif kind[0] in "LN" or sign in _KEPT:
            kept.append(sign)
        elif not (sign == "*" and in_word and text[at + 1 : at + 2].strip()):  # f***ing: one word
            kept.append(" ")
    return "".join(kept)


def _tidy(text: str) -> str:
    """Return the words with at most one sign of punctuation after each, runs of letters shortened."""
    words: list[str] = []
    for token in text.split():
        core = token.strip("'-%°" + _ENDING + _CURRENCY)
        if any(sign.isalnum() for sign in core):
            before, _, after = token.partition(core)
            sign = before[-1:] if core[0].isdigit() and before[-1:] in "-" + _CURRENCY else ""
            unit = after[:1] if core[-1].isdigit() and after[:1] in "%°" + _CURRENCY else ""
            core = _LAUGHTER.sub(r"\1\1\1", _ENDS.sub(lambda found: found[0][0], core))
            single = _RUN.sub(r"\1", core)
            core = single if single.lower() in _SINGLE else _RUN.sub(r"\1\1", core)
            words.append(f"{sign}{core}{unit}{_end(after)}")
        elif words and not _ENDS.search(words[-1][-1]):
            words[-1] += _end(token.replace("?", ""))
    return " ".join(words)


def _end(signs: str) -> str:
    """Return the one sign of punctuation that stands for several."""
    found = _ENDS.search(signs)
    marks = found[0] if found else ""
    if "!" in marks and marks[0] != "?":  # "?!" is asked
        return "!"
    return "..." if marks.startswith(("..", "…")) else marks[:1]


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
    if text.isascii() or max(text) > "\xff":
        return text
    content, run = text.encode("latin-1"), _GBK_RUN.search(text)
    if _GBK_PAIR.search(text):  # one row has one encoding; what was cut in the middle of a character is left out
        return content.decode("gb18030", "ignore")
    if run is not None and len(set(run[0])) >= 4:
        with suppress(UnicodeDecodeError):
            content.decode("utf-8")
            return text
        with suppress(UnicodeDecodeError):
            return content.decode("gbk")
    return text


# Told apart (ISO 639-1), the commonest of Twitter: more would add wrong guesses on short texts.
LANGUAGES = (
    *("ar", "bn", "ca", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko"),
    *("nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tl", "tr", "uk", "ur", "vi", "zh"),
)
_MIN_LETTERS, _MIN_SIGNS = 12, 4  # of an alphabet; of a script that writes syllables or words
_SYLLABLES = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def language_of(text: str) -> str:
    """Return the code of a cleaned text's language, one of `LANGUAGES`, or "" where it is too short or not clear.

    By py3langid, which brings its model: deterministic, offline. Under one millisecond but for the first call.
    """
    text = text[:1_000]  # more change nothing
    n_letters = sum(map(str.isalpha, text))
    if n_letters < (_MIN_SIGNS if _SYLLABLES.search(text) else _MIN_LETTERS):
        return ""
    code, probability = _identifier().classify(text)
    return code if probability >= 0.5 else ""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
