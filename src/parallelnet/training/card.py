"""The model card: `README.md` of a checkpoint, made from its facts alone."""

from ..checkpoint import ModelFacts
from ..report import numbers

SETTINGS = {"both": "speech and picture", "speech": "speech alone", "image": "picture alone"}


def model_card(facts: ModelFacts, notes: str = "") -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        facts: of the checkpoint; every figure comes from there.
        notes: what only people know: terms, intended use, limits, bias. Markdown, put before the figures.
    """
    recipe = dict(facts.training.get("recipe", {}))
    augment = recipe.pop("augment", {})
    rest = {name: value for name, value in facts.training.items() if name != "recipe"}
    training = {**rest, **recipe, **augment, "epochs trained": facts.metrics.get("epochs"), **facts.versions}
    return numbers.fill(
        __package__,
        "model_card.md.j2",
        facts=facts,
        notes=notes.strip(),
        figures=figures(facts),
        settings=SETTINGS,
        training={name: numbers.plain(value) for name, value in training.items()},
    )


def figures(facts: ModelFacts) -> str:
    """Return the tables of test figures with their intervals, as Markdown; README shows them too."""
    tested = facts.metrics.get("test", {})
    return numbers.fill(__package__, "figures.md.j2", tested=tested, classes=facts.classes, settings=SETTINGS).strip()
