"""Where the rows of a table start: checkpoints of parts that were trained before, each row with those that fit it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

from parallelnet import checkpoint
from parallelnet.checkpoint import ModelFacts
from parallelnet.errors import CheckpointError, OptionError
from parallelnet.models.variants import NetworkOptions, network_options
from parallelnet.options import TablesOptions

from .rows import ROWS, Row

log = logging.getLogger(__name__)


def starts_of(rows: Sequence[Row], init_from: Sequence[str], options: TablesOptions) -> Mapping[str, tuple[str, ...]]:
    """Return by row the checkpoints that it starts from: those with a branch of its kind, backbone and widths alike.

    A row without any starts from random weights: what was learnt by the eyes of one family says nothing to ears, nor to
    another family, even where single layers have the same shape.

    Raises:
        OptionError: a checkpoint fits no row of Table 1 or its studies, or stands there twice.
        CheckpointError: a checkpoint cannot be read.
    """
    twice = sorted({name for name in init_from if init_from.count(name) > 1})
    if twice:
        raise OptionError(f"--init-from names {twice[0]!r} twice; allowed: each checkpoint once.")
    sources = {name: NetworkOptions.from_dict(_facts(name).network) for name in init_from}
    # All rows: a part of a table, or the study of modalities, has the same --init-from as the whole.
    networks = {row.key: network_options(row.variant, size=options.size) for row in (*ROWS.values(), *rows)}
    found = {
        key: tuple(name for name, source in sources.items() if _shares_branch(network, source))
        for key, network in networks.items()
    }
    for name, source in sources.items():
        if not any(name in taken for taken in found.values()):
            said = " and ".join(f"{getattr(source, each).backbone} for {each}" for each in source.modalities)
            raise OptionError(
                f"--init-from {name}: its network ({said}, {source.embed_dim} wide) shares no branch with any row at "
                f"--size {options.size}. Mend: a checkpoint that `parallelnet train --size {options.size}` made of a "
                "variant with the rows' backbones."
            )
    for name in sources:
        if not any(name in found[row.key] for row in rows):
            log.warning("--init-from %s: none of the rows that were asked for takes anything from it", name)
    return found


def start_names(init_from: Sequence[str]) -> list[str]:
    """Return what the checkpoints call themselves, without their places."""
    return [_facts(source).name for source in init_from]


def _facts(source: str) -> ModelFacts:
    return checkpoint.opened(source, "--init-from").facts


def identity(source: str) -> str:
    """Return name and weights of a starting checkpoint: what a folder holds may have changed since a row began."""
    opened = checkpoint.opened(source, "--init-from")
    if not opened.weights.is_file():
        raise CheckpointError(f"--init-from {source} has no {opened.weights.name} to start from.")
    with opened.weights.open("rb") as stream:
        return f"{opened.facts.name} (weights {hashlib.file_digest(stream, 'sha256').hexdigest()[:12]})"


def _shares_branch(network: NetworkOptions, source: NetworkOptions) -> bool:
    shared = set(network.modalities) & set(source.modalities)
    same = any(getattr(network, name) == getattr(source, name) for name in shared)
    return same and network.embed_dim == source.embed_dim
