"""The sentences of the data set card that are the same for every build, and other people's text made harmless."""

from __future__ import annotations

import re
import unicodedata

FRONT_TAGS = ("multimodal", "speech", "image", "synthetic-speech", "pseudo-labels", "parallelnet")

MADE = {
    "emotion": """\
The procedure is that of Kumar, Malik and Raman ([arXiv 2208.11868](https://arxiv.org/abs/2208.11868), section 3.1):

1. The text of each post is cleaned for speaking (links go, and so do the names that a reply or a retweet begins with;
   names inside the sentence are spoken; hash tags become words) and spoken by a text-to-speech engine. The picture
   stays as it was found.
2. What is damaged, silent or a duplicate falls out, with its reason.
3. A speech teacher and a picture teacher, each trained on other data and on one modality, give the probabilities of the
   four classes. Their own classes are merged first; `excitement` becomes `happy` and `disgust` becomes `hate`
   (Plutchik's wheel).
4. `max1` and `max2` are the two teachers' largest probabilities; {rule}.
5. Rows where the larger is below {threshold} fall out.
""",
    "sentiment": """\
The text of each post is cleaned for speaking (links go, and so do the names that a reply or a retweet begins with;
names inside the sentence are spoken; hash tags become words) and spoken by a text-to-speech engine, as in Kumar, Malik
and Raman ([arXiv 2208.11868](https://arxiv.org/abs/2208.11868), section 3.1). The picture stays as it was found. What
is damaged, silent or a duplicate falls out, with its reason.
""",
}

SENTIMENT_DIFFERS = """\
**Built with `--labels sentiment`:** the class of a row is the sentiment that its source gives (column `sentiment`). No
teacher was asked, `label` is empty, there are no probabilities, and nothing was dropped for being unsure. This is the
form that sentiment experiments (the paper's Table 2) need.
"""

_LOAD = """\
```python
import io
import soundfile
from datasets import Audio, load_dataset

rows = load_dataset("parquet", data_dir="DIR", split="train")  # DIR: this folder
rows = rows.cast_column("speech", Audio(decode=False))  # soundfile reads it; decoding needs FFmpeg
row = rows[0]
speech, sample_rate_hz = soundfile.read(io.BytesIO(row["speech"]["bytes"]))
picture, text, {names} = row["image"], row["spoken_text"], row["{column}"]
```

It needs no unpacking: `parallelnet train --data DIR{target}`,
`evaluate` and `explain` take the folder as it is, and explanations use the spoken words' own times (`word_times`).
`parallelnet inspect DIR` prints this card's figures.

**Split by group.** Rows that share a text or a picture, nearly or exactly, have the same `group` or `image_group`. Keep
them in one part, or the test part was seen in training; `parallelnet train` does.
"""

LOADING = {
    "emotion": _LOAD.format(names="label", column="label", target=""),
    "sentiment": _LOAD.format(names="sentiment", column="sentiment", target=" --target-column sentiment"),
}

_COMMON_LIMITS = """\
- **The voices are synthetic.** Nobody's feeling is in them: what emotion the speech carries, the words carry, and how
  an engine pronounces them. A model trained here has not heard a person being sad.
- **Posts are people's.** Texts and pictures belong to those who posted them, may show people, and may offend. The terms
  of the source hold for this copy; there is no licence of its own. Do not use it to judge or find persons.
- Near duplicates are found by rule, so some remain and some that were dropped were none. `gallery.html` is for looking:
  its marks, exported as csv, are left out by `parallelnet build tweets ... --exclude FILE`.
- The language of a text is a guess, and one engine speaks all of them.
"""

LIMITS = {
    "emotion": """\
- **The labels are pseudo-labels.** No person said what these posts express: two models did, the surer one deciding.
  Accuracy on this data set is agreement with that rule, not with people.
- **Do not judge a network here that started from these teachers.** A model that makes the labels scores 100 % on them,
  and the closer another one is to it, the better it looks (paper, section 5.4). Start from other weights; the paper's
  models were trained anew.
"""
    + _COMMON_LIMITS,
    "sentiment": """\
- **The labels are the source's.** How they came to be, and how good they are, the source says.
"""
    + _COMMON_LIMITS,
}

# What Markdown (with GitHub's tables, autolinks and mathematics) could take for its own.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!$@:])")


def escape(text: str, longest: int = 120) -> str:
    """Return text that is not ours as one line that Markdown shows as it is: no markup, no links, no HTML.

    Args:
        text: from anywhere.
        longest: characters that are shown.
    """
    line = " ".join(_readable(text).split())
    line = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _SPECIAL.sub(r"\\\1", line)
    return re.sub(r"(?i)\bwww\.", r"www\\.", line)


def code(value: object) -> str:
    """Return a value of ours or not as code: backticks in it would end it, bars would end a table's cell."""
    line = " ".join(_readable(str(value)).split())
    return f"`{line.replace('`', chr(0x2019)).replace('|', chr(0x2223))}`" if line else "none"


def _readable(text: str) -> str:
    """Return the text without control characters, marks that turn the direction of what follows, and surrogates."""
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return "".join(
        " " if unicodedata.category(each) == "Cc" else each
        for each in text
        if each not in turning and unicodedata.category(each) != "Cs"
    )
