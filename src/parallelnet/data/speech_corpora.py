"""Readers of speech corpora as they are published: a folder in, samples with the corpus's own labels out.

A reader parses names and tables and decodes nothing. What it leaves out it counts in `drops`, by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..types import Sample
from .files import files_below
from .tables import inside, read_table

AUDIO_SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
PACKED_TABLE = "metadata.csv"

RAVDESS_EMOTIONS: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""Third field of a RAVDESS file name, 01 to 08."""

RAVDESS_STATEMENTS: tuple[str, ...] = ("kids are talking by the door", "dogs are sitting by the door")
"""Fifth field, 01 and 02."""

RAVDESS_INTENSITIES: tuple[str, ...] = ("normal", "strong")
"""Fourth field, 01 and 02."""

IEMOCAP_LINE = re.compile(
    r"\[[\d.]+ - [\d.]+\]\t(?P<turn>Ses(?P<session>0[1-5])[FM]_\w+_(?P<gender>[FM])\w+)\t(?P<emotion>\w+)\t"
)
"""The line of `EmoEvaluation/*.txt` that sums a turn up: `[start - end]`, turn, emotion, `[valence, ...]`."""

RAVDESS_SEXES: tuple[str, str] = ("female", "male")
"""Actors with even numbers are women, with odd numbers men."""

IEMOCAP_TRANSCRIPT = re.compile(r"(?P<turn>Ses\w+) \[[\d.-]+\]: ?(?P<text>.*)")

CREMA_D_EMOTIONS: dict[str, str] = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}

CREMA_D_INTENSITIES: dict[str, str] = {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}
"""XX is unspecified; one published file, 1040_ITH_SAD_X.wav, has a single X."""

CREMA_D_SENTENCES: dict[str, str] = {
    "IEO": "it's eleven o'clock",
    "TIE": "that is exactly what happened",
    "IOM": "i'm on my way to the meeting",
    "IWW": "i wonder what this is about",
    "TAI": "the airplane is almost full",
    "MTI": "maybe tomorrow it will be cold",
    "IWL": "i would like a new alarm clock",
    "ITH": "i think i have a doctor's appointment",
    "DFA": "don't forget a jacket",
    "ITS": "i think i've seen this before",
    "TSI": "the surface is slick",
    "WSI": "we'll stop in a couple of minutes",
}

EMODB_EMOTIONS: dict[str, str] = {
    "W": "angry",
    "L": "bored",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
"""First letters of the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral."""

TESS_EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
"""Last field of a TESS file name; ps is pleasant surprise."""


def audio_files(root: Path) -> list[Path]:
    """Return all sound files below a folder, in an order that no file system changes."""
    return files_below(root, AUDIO_SUFFIXES)


def read_ravdess(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of RAVDESS (Livingstone and Russo 2018, doi 10.5281/zenodo.1188976).

    Either the original `Actor_12/03-01-06-01-02-01-12.wav`: modality (03 is sound alone), vocal channel (01 speech,
    02 song), emotion, intensity, statement, repetition, actor; or the packed table `metadata.csv` with the columns
    path, label, speaker, transcript, intensity. Songs and videos are dropped. The speaker is `actor_12`.
    """
    if (root / PACKED_TABLE).is_file():
        yield from _read_packed_ravdess(root, drops)
        return
    for path in audio_files(root):
        fields = path.stem.split("-")
        if len(fields) != 7 or not all(len(field) == 2 and field.isdigit() for field in fields):
            drops["file name is not RAVDESS's seven numbers"] += 1
            continue
        modality, channel, emotion, intensity, statement, _, actor = (int(field) for field in fields)
        if modality != 3 or channel != 1:
            drops["not spoken sound (song or video)"] += 1
        elif not (1 <= emotion <= 8 and intensity in (1, 2) and statement in (1, 2)):
            drops["file name has a number outside RAVDESS's table"] += 1
        else:
            yield Sample(
                id=path.stem,
                speech=str(path),
                text=RAVDESS_STATEMENTS[statement - 1],
                label=RAVDESS_EMOTIONS[emotion - 1],
                group=f"actor_{actor:02d}",
                extra={"intensity": RAVDESS_INTENSITIES[intensity - 1], "sex": RAVDESS_SEXES[actor % 2]},
            )


def _read_packed_ravdess(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    table = read_table(root / PACKED_TABLE)
    table.require("path", "label", "speaker")
    for index, row in enumerate(table.rows):
        path = inside(root, row["path"], table.where(index))
        if not Path(path).is_file():
            drops["file of the table is missing"] += 1
            continue
        yield Sample(
            id=f"{Path(path).stem}-{row['speaker']}",  # the packed names end before the actor
            speech=path,
            text=row.get("transcript", ""),
            label=row["label"],
            group=row["speaker"],
            extra={"intensity": row.get("intensity", ""), "sex": _ravdess_sex(row["speaker"])},
        )


def _ravdess_sex(speaker: str) -> str:
    number = speaker.rpartition("_")[2]
    return RAVDESS_SEXES[int(number) % 2] if number.isdigit() else ""


def read_iemocap(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the turns of IEMOCAP (Busso et al. 2008, doi 10.1007/s10579-008-9076-6).

    `Session1/dialog/EmoEvaluation/*.txt` (the majority's emotion of each turn),
    `Session1/sentences/wav/DIALOG/TURN.wav`, and the words in `Session1/dialog/transcriptions/*.txt` where they are.
    Sessions are the folds 0 to 4, as everybody reports; the speaker is session and gender of the turn (`Ses01F`),
    since the letter in a dialog's name says who wore the markers, not who speaks.
    """
    for session in sorted(root.glob("Session[1-5]")):
        words = _iemocap_words(session / "dialog" / "transcriptions")
        for source in sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
            for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
                found = IEMOCAP_LINE.match(line)
                if not found:
                    continue
                turn = found["turn"]
                path = session / "sentences" / "wav" / turn.rpartition("_")[0] / f"{turn}.wav"
                if not path.is_file():
                    drops["sound of the turn is missing"] += 1
                    continue
                yield Sample(
                    id=turn,
                    speech=str(path),
                    text=words.get(turn, ""),
                    label=found["emotion"],
                    fold=int(found["session"]) - 1,
                    group=f"Ses{found['session']}{found['gender']}",
                )


def _iemocap_words(folder: Path) -> dict[str, str]:
    words = {}
    for source in sorted(folder.glob("[!.]*.txt")):
        for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
            found = IEMOCAP_TRANSCRIPT.match(line)
            if found:
                words[found["turn"]] = found["text"].strip()
    return words


def read_crema_d(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of CREMA-D (Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244).

    `AudioWAV/1001_DFA_ANG_XX.wav`: actor, sentence, emotion, intensity (LO, MD, HI, XX). The label is the emotion that
    was acted, not the one that listeners heard.
    """
    folder = root / "AudioWAV"  # AudioMP3 beside it holds the same again
    for path in audio_files(folder if folder.is_dir() else root):
        fields = path.stem.split("_")
        if len(fields) != 4 or fields[2] not in CREMA_D_EMOTIONS:
            drops["file name is not CREMA-D's actor_sentence_emotion_intensity"] += 1
            continue
        actor, sentence, emotion, intensity = fields
        yield Sample(
            id=path.stem,
            speech=str(path),
            text=CREMA_D_SENTENCES.get(sentence, ""),
            label=CREMA_D_EMOTIONS[emotion],
            group=actor,
            extra={"intensity": CREMA_D_INTENSITIES.get(intensity, "")},
        )


def read_emodb(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of EmoDB (Burkhardt et al. 2005, Interspeech), ten German actors.

    `wav/03a01Fa.wav`: speaker 03, sentence a01, emotion F (a letter of the German word), version a.
    """
    for path in audio_files(root):
        found = re.fullmatch(r"(\d\d)([ab]\d\d)([A-Z])[a-z]", path.stem)
        if not found or found[3] not in EMODB_EMOTIONS:
            drops["file name is not EmoDB's speaker, sentence, emotion, version"] += 1
            continue
        yield Sample(
            id=path.stem,
            speech=str(path),
            label=EMODB_EMOTIONS[found[3]],
            group=found[1],
            extra={"sentence": found[2]},
        )


def read_tess(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of TESS (Pichora-Fuller and Dupuis 2020, doi 10.5683/SP2/E8H2MF), two actresses.

    `OAF_angry/OAF_back_angry.wav`: speaker (OAF older, YAF younger), word, emotion; folders may be nested. One
    published file, OA_bite_neutral.wav, lacks the F of its speaker.
    """
    for path in audio_files(root):
        fields = path.stem.split("_")
        speaker = {"OA": "OAF"}.get(fields[0], fields[0])
        if len(fields) != 3 or speaker not in ("OAF", "YAF") or fields[2].lower() not in TESS_EMOTIONS:
            drops["file name is not TESS's speaker_word_emotion"] += 1
            continue
        yield Sample(
            id=path.stem,
            speech=str(path),
            text=f"say the word {fields[1].lower()}",
            label=fields[2].lower(),
            group=speaker,
        )
