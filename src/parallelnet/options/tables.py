"""Options of `experiment table1`, `table2`, `modalities` and `render`: the paper's tables (sections 4 and 5).

How the networks learn is a `Recipe` beside these, as for `train`: the preset, with what is given in place of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .checks import at_once, fraction, positive, require
from .training import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesOptions:
    """What every table asks: which data, how many folds, how large the networks, how long.

    A table goes on where it was stopped; other options or other data in the same folder are refused.

    Attributes:
        data: folder that `build tweets` or `build pairs` made, manifest, or CORPUS:PATH.
        out: folder of the results: JSON, tables and pictures.
        work: folder of the training runs, one a row (large; keep it out of version control); OUT/runs when left out.
        folds: number of folds; the data's own where they have as many, else dealt once for all rows, stratified and
            grouped.
        seed: of folds, networks, training and bootstrap.
        size: `paper` trains the networks as they are; `small` the same rows with small widths and backbones, which a
            CPU can train, and the results say so.
        preset: recipe to start from: `paper` (section 4.2) or `compact`; other flags replace its parts. The same for
            every row.
        weights: starting weights of the backbones: `imagenet` (downloaded once by torchvision) or `none`.
        clip_s: length of one speech window in seconds.
        trim: cut silence from both ends of the speech.
        face: `auto` crops the largest frontal face of each picture, `off` uses it whole.
        max_minutes: start no further fold after so many minutes; the same line goes on later. 0 sets no limit.
        n_bootstrap: rounds of the bootstrap behind every interval.
        accelerator: where to train, as Lightning names it: `cpu`, `gpu`, `mps`, `auto`.
        devices: number of devices.
        workers: processes that load data; 0 loads in the training process and keeps decoded signals.
        threads: CPU threads of torch; 0 leaves torch's choice.
    """

    data: str
    out: str
    work: str | None = None
    folds: int = 5
    seed: int = 0
    size: Literal["paper", "small"] = "paper"
    preset: Literal["paper", "compact"] = "paper"
    weights: Literal["imagenet", "none"] = "none"
    clip_s: float = 4.096
    trim: bool = False
    face: Literal["auto", "off"] = "off"
    max_minutes: float = 0.0
    n_bootstrap: int = 1000
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        require(self.folds >= 2, "--folds", self.folds, "2 and more")
        require(self.seed >= 0, "--seed", self.seed, "0 or more")
        require(self.size in ("paper", "small"), "--size", self.size, "paper, small")
        require(self.preset in PRESETS, "--preset", self.preset, ", ".join(PRESETS))
        positive("--clip-s", self.clip_s)
        require(self.max_minutes >= 0, "--max-minutes", self.max_minutes, "0 or more")
        require(self.n_bootstrap >= 2, "--n-bootstrap", self.n_bootstrap, "2 and more")
        require(self.devices >= 1, "--devices", self.devices, "1 or more")
        for name in ("workers", "threads"):
            at_once(f"--{name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table1Options(TablesOptions):
    """Reproduce the paper's Table 1 and Fig. 3 and 4: rows of the ablation studies on the same folds.

    Attributes:
        rows: keys of the rows to run, which happens in the order of the table; the six of the table when empty.
        studies: also run the studies that the text reports: each family of N2, additive fusion, ResNet at two rates.
        init_from: checkpoints to start from: each row takes over the branches that it has, too, with the same
            backbone, widths and input; teachers that made the labels are refused (section 5.4).
        figure4: examples of each class in the grid of Fig. 4, explained by the fold's network that never saw them; 0
            leaves the figure out.
    """

    rows: tuple[str, ...] = ()
    studies: bool = False
    init_from: tuple[str, ...] = ()
    figure4: int = 0

    def __post_init__(self) -> None:
        # Not super(): a slotted dataclass is made anew by its decorator, and the bare form looks for the old one.
        TablesOptions.__post_init__(self)
        require(self.figure4 >= 0, "--figure4", self.figure4, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitiesOptions(TablesOptions):
    """Compare both modalities, speech alone and picture alone, each also with the other missing at test time.

    Attributes:
        init_from: checkpoints to start from, as for table1.
        with_dropout: also train `parallelnet` with this part of its samples missing a modality, in place of the
            recipe's; the row is not run when left out, and the table says so.
    """

    init_from: tuple[str, ...] = ()
    with_dropout: float | None = None

    def __post_init__(self) -> None:
        TablesOptions.__post_init__(self)  # not super(): see Table1Options
        if self.with_dropout is not None:
            fraction("--with-dropout", self.with_dropout)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Rewrite the tables beside the committed results, and the pages about them, from their JSON alone.

    Attributes:
        results: folder of the results: NAME/table1.json, NAME/table2.json, NAME/modalities.json.
        out: folder of the pages.
        check: write nothing; exit with status 2 where a file is not what would be written.
        plots: also draw the plots again; `--check` leaves them out, for their bytes depend on matplotlib's version.
    """

    results: str = "results"
    out: str = "docs/results"
    check: bool = False
    plots: bool = False

    def __post_init__(self) -> None:
        require(not (self.check and self.plots), "--plots", True, "without --check, which writes nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table2Options(TablesOptions):
    """Reproduce the paper's Table 2: sentiment in three classes against human labels, beside the published methods.

    Attributes:
        rows: keys of the rows to run, which happens in the order of the table; all of them when empty.
        unlabelled: further tweets that nobody labelled, for cross-media learning: a folder that `build tweets` made, or
            a manifest with pictures and texts. Those that share a picture or the words with a labelled one are left
            out. Rows of --data without a sentiment are taken in any case.
        confident_part: part of the tweets of each class, as the text classifier sees it, that cross-media learning
            keeps: the most confident ones.
        fine_tune: what learns in the rows that start from ImageNet weights: `fc6` and the layers after it, or `all`.
    """

    rows: tuple[str, ...] = ()
    unlabelled: str | None = None
    confident_part: float = 0.5
    fine_tune: Literal["fc6", "all"] = "all"

    def __post_init__(self) -> None:
        TablesOptions.__post_init__(self)  # not super(): see Table1Options
        require(0 < self.confident_part <= 1, "--confident-part", self.confident_part, "above 0, at most 1")
        require(self.fine_tune in ("fc6", "all"), "--fine-tune", self.fine_tune, "fc6, all")
        require(
            not (self.size == "small" and self.weights == "imagenet"),
            "--weights imagenet",
            "with --size small",
            "with --size paper: narrow backbones have no pretrained weights",
        )
