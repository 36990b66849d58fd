"""What there is to choose from, as records for `parallelnet list`: all derived from the registries themselves.

Each record has `name` and `summary`; a registry is imported only when its list is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any


def variants() -> list[dict[str, Any]]:
    """Return the rows of the paper's studies and ours."""
    from .models.variants import VARIANTS

    return [
        {
            "name": name,
            "summary": variant.summary,
            "source": variant.source,
            "modalities": list(variant.modalities),
            "separable": variant.separable,
            "network": variant.network.to_dict(),
        }
        for name, variant in VARIANTS.items()
    ]


def backbones() -> list[dict[str, Any]]:
    """Return what can stand as N2."""
    from .models.backbones import BACKBONES

    return [{"name": name, **asdict(backbone)} for name, backbone in BACKBONES.items()]


def corpora() -> list[dict[str, Any]]:
    """Return the corpora that are read as published."""
    from .data.corpora import list_corpora

    return [{**record, "summary": record["title"]} for record in list_corpora()]


def checkpoints() -> list[dict[str, Any]]:
    """Return the checkpoints that come with the package."""
    from . import checkpoint

    records = []
    for name, folder in checkpoint.bundled().items():
        facts = checkpoint.read(folder).facts
        heard = " + ".join(facts.modalities)
        records.append(
            {
                "name": name,
                "summary": f"{facts.variant}: {heard}; {', '.join(facts.classes)}",
                "path": str(folder),
                "variant": facts.variant,
                "classes": list(facts.classes),
                "modalities": list(facts.modalities),
                "separable": facts.separable,
                "metrics": facts.metrics,
                "data": facts.data,
            }
        )
    return records


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "variants": variants,
    "backbones": backbones,
    "corpora": corpora,
    "checkpoints": checkpoints,
}
