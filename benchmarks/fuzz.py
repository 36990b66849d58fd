"""Whether any file can crash, hang or fool the commands that read it: thousands of damaged ones, each in a child.

    .venv/bin/python benchmarks/fuzz.py [--n 2400] [--seed 0] [--only sound] [--keep FOLDER]        (make fuzz)

Good files of every kind are made here and damaged by seeded mutations: bits, bytes, lengths, cuts, splices; in text
also quotes, separators, encodings, deep and huge values. Each goes through a real command line in a forked child with
1 GB of memory and 10 s. Allowed: exit 0 with sound figures, or exit 2 with one line. Anything else is unexpected:
another exit status, a signal, a traceback, a line that is not ours, figures that are no probabilities, too much time or
memory. `--keep` saves what was unexpected. Writes `benchmarks/results/fuzz.json`.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import math
import os
import platform
import random
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 2**30  # bytes that a command may take beside what the interpreter with its libraries holds
SECONDS = 10.0
MAX_ERROR = 2_000  # characters of a refusal
SHARES = {  # of all inputs
    "sound": 0.32,
    "picture": 0.28,
    "manifest": 0.14,
    "checkpoint": 0.12,
    "built set": 0.06,
    "resumed output": 0.05,
    "word times": 0.03,
}
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1)
WORDS = (
    *('"', '""', "'", ",", ";", "\t", "\r", "\n", "\0", "\ufeff", "\u2028", "\udcff", "NaN", "-Infinity", "1e999"),
    *(
        "null",
        "true",
        "[]",
        "{}",
        "[" * 2000,
        '{"a":' * 500,
        "9" * 5000,
        "-0",
        "../",
        "/etc/passwd",
        "=1+1",
        "x" * 20_000,
    ),
    *("id", "speech", "image", "label", "fold", "word_times", "bytes", "\x1b[2J"),
)


# --- good files -------------------------------------------------------------------------------------------------------


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Make good files of every kind and return them by kind."""
    import numpy as np
    import soundfile
    from PIL import Image

    folder.mkdir(parents=True)
    sound = soundfile.read(ROOT / "examples" / "happy.flac")[0][:12_000]
    sounds = []
    for suffix, format, subtype in (
        *(("wav", "WAV", s) for s in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
        *(("aiff", "AIFF", "PCM_16"), ("au", "AU", "PCM_16"), ("caf", "CAF", "PCM_16"), ("w64", "W64", "PCM_16")),
        *(("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS")),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ):
        path = folder / f"sound-{subtype}.{suffix}".lower()
        both = np.stack([sound, -0.5 * sound], axis=1) if suffix in ("flac", "caf") else sound
        soundfile.write(path, both, 16_000, subtype=subtype, format=format)
        sounds.append(path)
    picture = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").resize((40, 56))
    pictures = []
    for name, drawn, options in (
        *(("a.jpg", picture, {}), ("a.png", picture, {}), ("a.webp", picture, {}), ("a.gif", picture, {})),
        *(("a.bmp", picture, {}), ("a.tiff", picture, {}), ("a.ppm", picture, {}), ("a.avif", picture, {})),
        *(
            ("p.png", picture.convert("P"), {}),
            ("i.png", picture.convert("I;16"), {}),
            ("l.jpg", picture.convert("L"), {}),
        ),
        *(("lzw.tiff", picture, {"compression": "tiff_lzw"}), ("z.tiff", picture, {"compression": "tiff_deflate"})),
        *(("f.tiff", picture.convert("F").point(lambda v: v / 255), {}), ("c.jpg", picture.convert("CMYK"), {})),
        ("t.webp", picture.convert("RGBA"), {"lossless": True}),
    ):
        drawn.save(folder / name, **options)
        pictures.append(folder / name)
    return {"sound": sounds, "picture": pictures, "manifest": _manifests(folder, sounds, pictures)}


def _manifests(folder: Path, sounds: list[Path], pictures: list[Path]) -> list[Path]:
    import pyarrow
    from pyarrow import parquet

    times = json.dumps([["yes", 0.0, 0.3], ["no", 0.3, 0.6]])
    rows: list[dict[str, Any]] = [
        {
            "id": str(k),
            "speech": sounds[k].name,
            "image": pictures[k].name,
            "label": "sad",
            "fold": k,
            "word_times": times,
        }
        for k in range(3)
    ]
    lines = [",".join(rows[0])]
    lines += [",".join([*map(str, list(row.values())[:-1]), '"' + times.replace('"', '""') + '"']) for row in rows]
    (folder / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "m.tsv").write_text("\n".join(line.replace(",", "\t") for line in lines) + "\n", encoding="utf-16")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "m.parquet")
    inside = [{**row, "speech": {"bytes": sounds[0].read_bytes(), "path": "a.wav"}, "image": None} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(inside), folder / "bytes.parquet")
    return [folder / name for name in ("m.csv", "m.tsv", "m.jsonl", "m.parquet", "bytes.parquet")]


def make_folders(folder: Path, seeds: dict[str, list[Path]]) -> dict[str, Path]:
    """Make the folders of which one file is damaged: a checkpoint, a built set, an output that can be gone on with."""
    made = {"checkpoint": folder / "checkpoint", "built set": folder / "set", "resumed output": folder / "resumed"}
    shutil.copytree(ROOT / "src" / "parallelnet" / "checkpoints" / "compact", made["checkpoint"])
    tweets = folder / "tweets.csv"
    lines = [
        f"{k},we all saw the train number {k} leave,{path.name},positive" for k, path in enumerate(seeds["picture"])
    ]
    tweets.write_text("\n".join(["id,text,image,sentiment", *lines]) + "\n", encoding="utf-8")
    run = [sys.executable, "-m", "parallelnet"]
    images = ("--images", str(seeds["picture"][0].parent))
    build = shlex.split("build tweets --labels sentiment --workers 1 --quiet --tweets")
    subprocess.run([*run, *build, str(tweets), "--out", str(made["built set"]), *images], check=True, cwd=ROOT)
    made["resumed output"].mkdir()
    predict = shlex.split("predict --face off --quiet --manifest")
    out = made["resumed output"] / "rows.csv"
    subprocess.run([*run, *predict, str(seeds["manifest"][0]), "--out", str(out)], check=True, cwd=ROOT)
    return made


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four mutations; the start of a file, where its header is, is hit most often."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not found:
            break
        at = min(int(rng.expovariate(1 / max(len(found) / 8, 8))), len(found) - 1) if rng.random() < 0.7 else None
        at = rng.randrange(len(found)) if at is None else at
        kind = rng.randrange(9)
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at] = rng.randrange(256)
        elif kind == 2:  # a length or an offset
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % 2 ** (8 * size)
            found[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 3:
            del found[at:]
        elif kind == 4:
            del found[at : at + rng.choice((1, 2, 16, 1024))]
        elif kind == 5:
            found[at:at] = rng.randbytes(rng.choice((1, 2, 16, 1024)))
        elif kind == 6:  # twice
            n = rng.choice((4, 64, 4096))
            found[at:at] = found[at : at + n]
        elif kind == 7:  # the head of one file with the tail of another
            found[at:] = other[min(at, len(other)) :]
        else:
            n = rng.choice((4, 64, 1024))
            found[at : at + n] = bytes(min(n, len(found) - at))
    return bytes(found)


def damaged_text(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return text with a mutation that a reader of tables or JSON may fall over; sometimes damage of bytes."""
    if rng.random() < 0.35:
        return damaged(data, other, rng)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = data.decode(encoding, "replace")
    for _ in range(rng.choice((1, 1, 2))):
        at, word = rng.randrange(len(text) + 1), rng.choice(WORDS)
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + word + text[at:]
        elif kind == 1:  # in the place of a value
            end = next((k for k in range(at, len(text)) if text[k] in ',\n\t"}]:'), len(text))
            text = text[:at] + word + text[end:]
        elif kind == 2:
            pair = rng.choice(((",", ";"), ('"', "'"), ("\n", "\r"), ("\n", "\r\n"), (" ", "\xa0"), (":", "=")))
            text = text.replace(*pair)
        else:
            lines = text.splitlines(True)
            rng.shuffle(lines)
            text = "".join(lines)
    return text.encode(rng.choice((encoding, encoding, "utf-8-sig", "utf-16", "cp1252")), "replace")


@dataclass(frozen=True)
class Input:
    """One damaged input: the command line that reads it, and the file that was damaged."""

    kind: str
    seed: int
    arguments: list[str]
    path: Path


def prepare(kind: str, seed: int, place: Path, seeds: dict[str, list[Path]], made: dict[str, Path]) -> Input:
    """Write a damaged input below `place` and return what reads it."""
    rng = random.Random(f"{kind} {seed}")
    place.mkdir(parents=True)
    if kind in ("sound", "picture"):
        source = rng.choice(seeds[kind])
        path = place / source.name
        path.write_bytes(damaged(source.read_bytes(), rng.choice(seeds[kind]).read_bytes(), rng))
        flag = "--speech" if kind == "sound" else "--image"
        return Input(kind, seed, [*shlex.split("predict --json --threads 1 --face off"), flag, str(path)], path)
    if kind == "manifest":
        source = rng.choice(seeds[kind])
        for media in [*seeds["sound"][:3], *seeds["picture"][:3]]:
            (place / media.name).write_bytes(media.read_bytes())
        path = place / source.name
        mutate = damaged if source.suffix == ".parquet" else damaged_text
        path.write_bytes(mutate(source.read_bytes(), rng.choice(seeds[kind]).read_bytes(), rng))
        predict = shlex.split("predict --json --threads 1 --face off --out")
        return Input(kind, seed, [*predict, str(place / "rows.csv"), "--manifest", str(path)], path)
    if kind == "word times":
        path = place / "words.json"
        good = json.dumps([["yes", 0.0, 0.3], ["no", 0.3, 0.6]]).encode()
        path.write_bytes(damaged_text(good, good, rng))
        explain = [*shlex.split("explain --json --threads 1 --speech"), str(seeds["sound"][0])]
        return Input(kind, seed, [*explain, "--word-times", str(path)], path)
    folder = place / made[kind].name
    shutil.copytree(made[kind], folder, copy_function=os.link)  # linked: only the damaged file is written anew
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".md", ".png", ".html", ".svg"))
    path = rng.choice(files)
    good = path.read_bytes()
    path.unlink()
    mutate = damaged_text if path.suffix in (".json", ".csv") else damaged
    path.write_bytes(mutate(good, good[::-1], rng))
    if kind == "checkpoint":
        sound = str(ROOT / "examples" / "sad.flac")
        device = "cpu" if path.suffix == ".safetensors" and rng.random() < 0.3 else "onnx"
        predict = shlex.split(f"predict --json --threads 1 --device {device} --speech")
        return Input(kind, seed, [*predict, sound, "--checkpoint", str(folder)], path)
    if kind == "built set":
        if rng.random() < 0.5:
            return Input(kind, seed, ["inspect", str(folder), "--json"], path)
        evaluate = shlex.split(
            "evaluate --face off --threads 1 --target-column sentiment --n-bootstrap 2 --json --data"
        )
        return Input(kind, seed, [*evaluate, str(folder)], path)
    predict = [*shlex.split("predict --json --threads 1 --face off --resume --manifest"), str(seeds["manifest"][0])]
    return Input(kind, seed, [*predict, "--out", str(folder / "rows.csv")], path)


# --- one command in a child -------------------------------------------------------------------------------------------


def serve() -> None:
    """Take command lines from standard input, run each in a forked child with limits, and say how it ended.

    The libraries are imported once, here, and no thread is started: a child costs milliseconds instead of a second.
    """
    import numpy
    import onnxruntime
    import PIL.Image
    import pyarrow.parquet
    import soundfile
    import soxr
    import torch

    import parallelnet.cli
    import parallelnet.data.dataset
    import parallelnet.models.network
    import parallelnet.predictor

    del numpy, onnxruntime, PIL, pyarrow, soundfile, soxr, torch
    for line in sys.stdin:
        print(json.dumps(_outcome(json.loads(line), parallelnet.cli.main)), flush=True)


def _outcome(arguments: list[str], run: Callable[[list[str]], int]) -> dict[str, Any]:
    out, out_end = os.pipe()
    error, error_end = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.dup2(out_end, 1)
            os.dup2(error_end, 2)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            sys.stdout, sys.stderr = io.TextIOWrapper(io.FileIO(1, "w")), io.TextIOWrapper(io.FileIO(2, "w"))
            status = run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    os.close(out_end)
    os.close(error_end)
    said = {out: b"", error: b""}
    open_ends = [out, error]
    late = False
    while open_ends:
        left_s = SECONDS - (time.monotonic() - begun)
        ready, _, _ = select.select(open_ends, [], [], max(left_s, 0))
        if not ready:
            late = True
            os.kill(child, signal.SIGKILL)
        for end in ready or open_ends[:]:
            part = os.read(end, 65_536)
            if not part:
                open_ends.remove(end)
            elif len(said[end]) < 10**6:
                said[end] += part
    os.close(out)
    os.close(error)
    _, status = os.waitpid(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "late": late,
        "seconds": time.monotonic() - begun,
        "out": said[out].decode("utf-8", "replace")[-20_000:],
        "error": said[error].decode("utf-8", "replace")[-20_000:],
    }


def wrong(given: Input, ended: dict[str, Any]) -> str:
    """Return what was not promised; "" where all is well."""
    if ended["late"]:
        return f"more than {SECONDS:g} s"
    if ended["status"] not in (0, 2):
        return f"exit {ended['status']}: {ended['error'].strip()[-300:]}"
    lines = ended["error"].splitlines()
    foreign = [line for line in lines if not line.startswith("parallelnet: ")]
    notes = given.kind in ("built set", "manifest")  # what was unpacked or dropped is noted there
    if ended["status"] == 2 and (len(lines) - len(foreign) != 1 or len(ended["error"]) > MAX_ERROR):
        return f"a refusal of {len(lines)} lines, {len(ended['error'])} characters: {ended['error'][:300]}"
    if "Traceback" in ended["error"] or "defect" in ended["error"] or (foreign and not notes):
        return f"standard error: {ended['error'].strip()[:300]}"
    if ended["status"] == 0 and given.arguments[0] in ("predict", "explain"):
        try:
            said = json.loads(ended["out"]) if len(ended["out"]) < 20_000 else {}
        except ValueError:
            return f"no JSON: {ended['out'][:200]}"
        probs = said.get("probs")
        if probs is not None and not math.isclose(sum(probs.values()), 1, abs_tol=1e-6):  # printed with all digits
            return f"no probabilities: {probs}"
    return ""


# --- the whole run ----------------------------------------------------------------------------------------------------


class Server:
    """A process that runs command lines in children."""

    def __init__(self, scratch: Path) -> None:
        """Start it; what it unpacks goes below `scratch`."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(scratch / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, arguments: list[str]) -> dict[str, Any]:
        """Run one command line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


def main() -> None:
    """Damage, run, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], choices=list(SHARES), help="kinds; then no result is written")
    parser.add_argument("--keep", help="folder for what was unexpected")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    begun = time.monotonic()
    plan = [
        (kind, arguments.seed * 10**6 + k) for kind, share in SHARES.items() for k in range(round(share * arguments.n))
    ]
    plan = [each for each in plan if not arguments.only or each[0] in arguments.only]
    with tempfile.TemporaryDirectory(prefix="parallelnet-fuzz-") as folder:
        scratch = Path(folder)
        seeds = make_seeds(scratch / "seeds")
        made = make_folders(scratch, seeds)
        servers = [Server(scratch) for _ in range(arguments.workers)]
        counts = {kind: Counter[str]() for kind in SHARES}
        finds: list[dict[str, Any]] = []

        def work(number: int) -> None:
            for kind, seed in plan[number :: arguments.workers]:
                place = scratch / "tried" / f"{kind} {seed}"
                given = prepare(kind, seed, place, seeds, made)
                ended = servers[number].ask(given.arguments)
                told = wrong(given, ended).replace(str(scratch), "").replace(str(ROOT), "")
                counts[kind].update(
                    tried=1, read=ended["status"] == 0 and not told, refused=ended["status"] == 2 and not told
                )
                counts[kind]["unexpected"] += bool(told)
                if told:
                    finds.append({"kind": kind, "seed": seed, "file": given.path.name, "wrong": told})
                    print(f"{kind} {seed} ({given.path.name}): {told}", file=sys.stderr)
                    if arguments.keep:
                        shutil.copytree(place, Path(arguments.keep) / f"{kind} {seed}", dirs_exist_ok=True)
                counts[kind]["slowest_ms"] = max(counts[kind]["slowest_ms"], round(1000 * ended["seconds"]))
                shutil.rmtree(place)

        with ThreadPoolExecutor(arguments.workers) as pool:
            list(pool.map(work, range(arguments.workers)))
        for server in servers:
            server.process.kill()
    total = Counter[str]()
    for each in counts.values():
        total.update({name: each[name] for name in ("tried", "read", "refused", "unexpected")})
    found = {
        "what": "damaged inputs through real command lines, each in a child with 1 GB and 10 s",
        "seed": arguments.seed,
        "total": dict(total),
        "by_kind": {kind: dict(each) for kind, each in counts.items()},
        "unexpected": sorted(finds, key=lambda find: (find["kind"], find["seed"])),
        "seconds": round(time.monotonic() - begun),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "numpy", "onnxruntime", "pillow", "soundfile", "pyarrow")},
    }
    print(json.dumps(found["total"]))
    if not arguments.only:
        target = ROOT / "benchmarks" / "results" / "fuzz.json"
        target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if total["unexpected"] else 0)


if __name__ == "__main__":
    main()
