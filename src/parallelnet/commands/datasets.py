"""`parallelnet build` and `parallelnet inspect`: data sets from corpora and from tweets."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import options
from ..errors import ManifestError
from ..report import terminal
from . import Console, Given, extra, say

if TYPE_CHECKING:
    from ..data.pairs import PairsReport
    from ..datasets.build import Done


def build_pairs(chosen: options.PairsOptions, console: Console, _: Given) -> None:
    """Pair utterances and pictures of one class."""
    from ..data.pairs import build_pairs

    report = build_pairs(chosen)
    say(console, json.dumps(asdict(report), ensure_ascii=False), _show_pairs, report)


def _show_pairs(report: PairsReport) -> None:
    print(f"{report.n_pairs} pairs of {report.n_utterances} utterances and {report.n_pictures} pictures")
    rows = [["part", "class", "pairs", "utterances", "pictures"]]
    for part, classes in report.counts.items():
        for name, n in classes.items():
            rows.append([part, name, *(str(n[key]) for key in ("pairs", "utterances", "pictures"))])
    terminal.table(rows)
    for side, reasons in report.drops.items():
        for reason, dropped in reasons.items():
            print(f"{side}: left out {dropped}: {reason}")
    print(report.manifest)


def build_tweets(chosen: options.TweetsOptions, console: Console, _: Given) -> None:
    """Build a speech+image data set from plain tweets, or say what that would be."""
    from ..data.shards import REASONS
    from ..datasets import build

    if chosen.dry_run:
        plan = build.plan_tweets(chosen)
        told = (
            f"{plan.n_rows:,} rows would become {plan.n_shards:,} shards in about {plan.estimated_s / 60:,.1f} min on "
            f"{plan.n_workers} workers. The first {plan.trial.n_read} rows ({plan.trial.n_kept} kept): {plan.folder}"
        )
        record = {**asdict(plan), "trial": json.loads(plan.trial.to_json())}
        say(console, json.dumps(record, ensure_ascii=False), print, told)
        return
    progress = _Progress(quiet=console.quiet)
    try:
        report = build.build_tweets(chosen, progress=progress)
    finally:
        progress.close()
    say(console, report.to_json(), _show, chosen.out, 0)
    if not report.n_kept:
        reason, n = max(report.rejected.items(), key=lambda each: each[1])
        raise ManifestError(
            f"No row of {chosen.tweets} was kept: {n:,} of {report.n_read:,} fell out as {reason} ({REASONS[reason]}). "
            f"{chosen.out}/rejected.parquet says why each did. Mend: put that right and build again."
        )


def inspect(chosen: options.InspectOptions, console: Console, _: Given) -> None:
    """Show what a built data set holds."""
    with extra("Inspecting a data set", "build"):
        import pyarrow  # noqa: F401  # asked for here, so that its absence is told by the extra
    if console.json:
        from ..datasets.inspection import inspect as look

        print(json.dumps(look(Path(chosen.data), examples=chosen.examples), ensure_ascii=False))
    else:
        _show(chosen.data, chosen.examples)


def _show(folder: str, examples: int) -> None:
    from ..data.shards import REASONS
    from ..datasets.inspection import PAPER_COUNTS
    from ..datasets.inspection import inspect as look

    terminal.show_inspection(look(Path(folder), examples=examples), REASONS, PAPER_COUNTS)
    if not examples:
        print(f"\n{folder}/README.md, {folder}/gallery.html")


class _Progress:
    """Rate, remaining time, kept and dropped so far: a bar on a terminal, a line a minute elsewhere."""

    EVERY_S = 60.0

    def __init__(self, *, quiet: bool) -> None:
        """Show nothing when `quiet`."""
        self.quiet = quiet
        self._bar: Any = None

    def __call__(self, done: Done) -> None:
        """Take what is finished so far."""
        if self.quiet:
            return
        now = time.monotonic()
        if self._bar is None:  # what an earlier run finished says nothing of this one's rate
            from tqdm import tqdm

            self._bar = tqdm(total=done.n_rows, initial=done.n_read, unit="row", disable=not sys.stderr.isatty())
            self._begun, self._last_s = (now, done.n_read), now
        n_dropped = done.n_read - done.n_kept
        self._bar.set_postfix(kept=done.n_kept, dropped=n_dropped, refresh=False)
        self._bar.update(done.n_read - self._bar.n)
        new = done.n_read - self._begun[1]
        if self._bar.disable and new and (now - self._last_s >= self.EVERY_S or done.n_read == done.n_rows):
            self._last_s = now
            rate = new / max(now - self._begun[0], 1e-9)
            print(
                f"{done.n_read:,} of {done.n_rows:,} rows, {rate:.1f}/s, "
                f"{(done.n_rows - done.n_read) / rate / 60:.0f} min left, "
                f"{done.n_kept:,} kept, {n_dropped:,} dropped",
                file=sys.stderr,
            )

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
