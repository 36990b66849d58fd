"""Readers of speech corpora as they are published: a folder in, samples with the corpus's own labels out.

A reader parses names and tables and decodes nothing. What it leaves out it counts in `drops`, by reason.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..errors import ManifestError
from ..records import read_json
from ..types import Sample
from .image_corpora import IMAGE_SUFFIXES, SPLIT_FOLDERS
from .tables import PACKED_TABLE, files_below, inside, left_out, packed_files, read_table, tidy

AUDIO_SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")

# Third to fifth field of a RAVDESS file name, from 01.
RAVDESS_EMOTIONS: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RAVDESS_INTENSITIES: tuple[str, ...] = ("normal", "strong")
RAVDESS_STATEMENTS: tuple[str, ...] = ("kids are talking by the door", "dogs are sitting by the door")
RAVDESS_SEXES: tuple[str, str] = ("female", "male")  # actors with even numbers are women, with odd numbers men

# The line of `EmoEvaluation/*.txt` that sums a turn up: `[start - end]`, turn, emotion, `[valence, ...]`.
IEMOCAP_LINE = re.compile(
    r"\[[\d.]+ - [\d.]+\]\t(?P<turn>Ses(?P<session>0[1-5])[FM]_\w+_(?P<gender>[FM])\w+)\t(?P<emotion>\w+)\t"
)
IEMOCAP_TRANSCRIPT = re.compile(r"(?P<turn>Ses\w+) \[[\d.-]+\]: ?(?P<text>.*)")

CREMA_D_EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
CREMA_D_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}  # XX is unspecified, and so is X of one file
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

# First letters of the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral.
EMODB_EMOTIONS = {"W": "angry", "L": "bored", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"}

# Last field of a TESS file name; ps is pleasant surprise.
TESS_EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")

# What audformat writes for the start and the end of a file that is used whole.
WHOLE_STARTS: tuple[str, ...] = ("", "0", "0.0", "0 days", "0 days 00:00:00")
WHOLE_ENDS: tuple[str, ...] = ("", "NaT", "nan")


def _named(root: Path, pattern: str, reason: str, drops: Counter[str]) -> Iterator[tuple[Path, list[str]]]:
    """Yield the sounds whose names without their ending are of a pattern, with its groups; drop the others."""
    for path in files_below(root, AUDIO_SUFFIXES):
        found = re.findall(rf"\A{pattern}\Z", path.stem)
        if not left_out(drops, {reason: not found}):
            yield path, list(found[0])


def read_ravdess(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of RAVDESS (Livingstone and Russo 2018, doi 10.5281/zenodo.1188976).

    Either the original `Actor_12/03-01-06-01-02-01-12.wav`: modality (03 is sound alone), vocal channel (01 speech,
    02 song), emotion, intensity, statement, repetition, actor; or the packed table `metadata.csv` with the columns
    path, label, speaker, transcript, intensity. Songs and videos are dropped. The speaker is `actor_12`.
    """
    if (root / PACKED_TABLE).is_file():
        for path, row in packed_files(root, drops, "speaker"):
            number = row["speaker"].rpartition("_")[2]
            sex = RAVDESS_SEXES[int(number) % 2] if number.isdecimal() else ""
            yield Sample(
                id=f"{path.stem}-{row['speaker']}",  # the packed names end before the actor
                speech=str(path),
                text=row.get("transcript", ""),
                label=row["label"],
                group=row["speaker"],
                extra={"intensity": row.get("intensity", ""), "sex": sex},
            )
        return
    seven = "-".join([r"(\d\d)"] * 7)
    for path, fields in _named(root, seven, "file name is not RAVDESS's seven numbers", drops):
        modality, channel, emotion, intensity, statement, _, actor = map(int, fields)
        in_table = 1 <= emotion <= 8 and intensity in (1, 2) and statement in (1, 2)
        whys = {
            "not spoken sound (song or video)": modality != 3 or channel != 1,
            "file name has a number outside RAVDESS's table": not in_table,
        }
        if not left_out(drops, whys):
            yield Sample(
                id=path.stem,
                speech=str(path),
                text=RAVDESS_STATEMENTS[statement - 1],
                label=RAVDESS_EMOTIONS[emotion - 1],
                group=f"actor_{actor:02d}",
                extra={"intensity": RAVDESS_INTENSITIES[intensity - 1], "sex": RAVDESS_SEXES[actor % 2]},
            )


def read_iemocap(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the turns of IEMOCAP (Busso et al. 2008, doi 10.1007/s10579-008-9076-6).

    `Session1/dialog/EmoEvaluation/*.txt` (the majority's emotion of each turn),
    `Session1/sentences/wav/DIALOG/TURN.wav`, and the words in `Session1/dialog/transcriptions/*.txt` where they are.
    Sessions are the folds 0 to 4, as everybody reports; the speaker is session and gender of the turn (`Ses01F`),
    since the letter in a dialog's name says who wore the markers, not who speaks.
    """
    for session in sorted(root.glob("Session[1-5]")):
        said = _lines(session / "dialog" / "transcriptions", IEMOCAP_TRANSCRIPT)
        words = {found["turn"]: found["text"].strip() for found in said}
        for found in _lines(session / "dialog" / "EmoEvaluation", IEMOCAP_LINE):
            turn = found["turn"]
            path = session / "sentences" / "wav" / turn.rpartition("_")[0] / f"{turn}.wav"
            fold, group = int(found["session"]) - 1, f"Ses{found['session']}{found['gender']}"
            text, label = words.get(turn, ""), found["emotion"]
            if not left_out(drops, {"sound of the turn is missing": not path.is_file()}):
                yield Sample(id=turn, speech=str(path), text=text, label=label, fold=fold, group=group)


def _lines(folder: Path, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    for source in sorted(folder.glob("[!.]*.txt")):
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
        yield from filter(None, map(pattern.match, lines))


def read_crema_d(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of CREMA-D (Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244).

    `AudioWAV/1001_DFA_ANG_XX.wav`: actor, sentence, emotion, intensity (LO, MD, HI, XX). The label is the emotion that
    was acted, not the one that listeners heard.
    """
    folder = root / "AudioWAV"  # AudioMP3 beside it holds the same again
    folder = folder if folder.is_dir() else root
    pattern = rf"([^_]*)_([^_]*)_({'|'.join(CREMA_D_EMOTIONS)})_([^_]*)"
    reason = "file name is not CREMA-D's actor_sentence_emotion_intensity"
    for path, (actor, sentence, emotion, intensity) in _named(folder, pattern, reason, drops):
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
    pattern = rf"(\d\d)([ab]\d\d)([{''.join(EMODB_EMOTIONS)}])[a-z]"
    reason = "file name is not EmoDB's speaker, sentence, emotion, version"
    for path, (speaker, sentence, emotion) in _named(root, pattern, reason, drops):
        label, extra = EMODB_EMOTIONS[emotion], {"sentence": sentence}
        yield Sample(id=path.stem, speech=str(path), label=label, group=speaker, extra=extra)


def read_tess(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of TESS (Pichora-Fuller and Dupuis 2020, doi 10.5683/SP2/E8H2MF), two actresses.

    `OAF_angry/OAF_back_angry.wav`: speaker (OAF older, YAF younger), word, emotion; folders may be nested. One
    published file, OA_bite_neutral.wav, lacks the F of its speaker.
    """
    pattern = rf"(OAF?|YAF)_([^_]*)_((?i:{'|'.join(TESS_EMOTIONS)}))"
    for path, fields in _named(root, pattern, "file name is not TESS's speaker_word_emotion", drops):
        word, emotion = map(str.lower, fields[1:])
        speaker, text = f"{fields[0][:2]}F", f"say the word {word}"
        yield Sample(id=path.stem, speech=str(path), text=text, label=emotion, group=speaker)


def read_emobox(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of an EmoBox manifest (Ma et al. 2024, arXiv 2406.07162).

    A json lines file (`key, dataset, wav, ..., emo`, one object a line), or the folder of a corpus
    (`data/CORPUS/CORPUS.jsonl`), whose `fold_N/CORPUS_test_fold_N.jsonl` then are the folds. Codes go through
    `label_map.json` where it lies beside. Paths of `wav` are looked for below the folder of the file and those above
    it, as they begin at EmoBox's own root. EmoBox does not name speakers unless a row has `speaker`, and some of its
    folds (EmoDB) have every speaker in all of them.
    """
    source = root if root.is_file() else root / f"{root.name}.jsonl"
    rows = read_table(source, "key", "wav", "emo")
    tables = (folder / "label_map.json" for folder in (source.parent, source.parent.parent))
    mend = "a JSON object of codes and names, as EmoBox has it."
    names = next((read_json(path, mend=mend) for path in tables if path.is_file()), {})
    folds = _emobox_folds(source)
    # Its own root lies three folders above data/CORPUS/fold_1/x.jsonl.
    bases = (source.parent, *source.parent.absolute().parents[:4])
    for where, row in rows:
        paths = [inside(base, str(row["wav"]), where) for base in bases]
        path = next((path for path in paths if Path(path).is_file()), None)
        is_part = row.get("start_time") is not None or row.get("end_time") is not None
        key, emotion = str(row["key"]), tidy(str(row["emo"]))
        if not left_out(drops, {"a part of a longer recording": is_part, "sound is missing": path is None}):
            yield Sample(
                id=key,
                speech=path,
                text=str(row.get("text") or ""),
                label=str(names.get(emotion, emotion)).lower(),
                fold=folds.get(key),
                group=tidy(str(row.get("speaker") or "")),
                extra={"dataset": str(row.get("dataset") or "")},
            )


def _emobox_folds(source: Path) -> dict[str, int]:
    folds: dict[str, int] = {}
    for path in source.parent.glob(f"fold_*/{source.stem}_test_fold_*.jsonl"):
        fold = int(path.stem.rpartition("_")[2]) - 1
        if any(folds.setdefault(str(row.get("key")), fold) != fold for _, row in read_table(path)):
            return {}  # the folds beside are no partition
    return folds


def read_nkululeko(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of an nkululeko (audformat) csv (Burkhardt et al. 2022, LREC).

    A csv with the columns `file` and `emotion`, and `speaker`, `split`, `text` where they are; paths are relative to
    the csv. Rows with `start` and `end` that name a part of a longer file are dropped.
    """
    found = [root] if root.is_file() else sorted(root.glob("[!.]*.csv"))
    if len(found) != 1:
        raise ManifestError(f"{root} holds {len(found)} csv files; needed: one. Mend: name the csv itself.")
    known = ("file", "emotion", "speaker", "split", "text", "start", "end")
    for where, row in read_table(found[0], "file", "emotion", known=known):
        path = inside(found[0].parent, row["file"], where)
        whys = {
            "a part of a longer recording": row.get("start", "") not in WHOLE_STARTS
            or row.get("end", "") not in WHOLE_ENDS,
            "sound is missing": Path(path).suffix.lower() in IMAGE_SUFFIXES or not Path(path).is_file(),
        }
        if not left_out(drops, whys):
            yield Sample(
                id=row["file"],
                speech=path,
                text=row.get("text", ""),
                label=tidy(row["emotion"]).lower(),
                split=SPLIT_FOLDERS.get(tidy(row.get("split", "")).lower(), ""),
                group=tidy(row.get("speaker", "")),
                extra={name: value for name, value in row.items() if name not in known},
            )
