"""Every option there is: frozen dataclasses whose docstrings are the command line's help.

Standard library only, so that `parallelnet --help` stays instant. A value out of range raises `OptionError` that
names its flag.
"""

from __future__ import annotations

from .commands import ConsoleOptions, EvaluateOptions, ExportOptions, ListOptions, ModelOptions, PredictOptions
from .experiments import PLANT_TASKS, FaithfulnessOptions, PlantOptions
from .explaining import ExplainOptions
from .signals import MAX_DURATION_S, MAX_PIXELS, LimitOptions, SignalOptions
from .tables import ModalitiesOptions, RenderOptions, Table1Options, Table2Options, TablesOptions
from .training import PRESETS, AugmentOptions, PairsOptions, Recipe, TrainOptions
from .tweets import InspectOptions, TweetsOptions

__all__ = [
    "MAX_DURATION_S",
    "MAX_PIXELS",
    "PLANT_TASKS",
    "PRESETS",
    "AugmentOptions",
    "ConsoleOptions",
    "EvaluateOptions",
    "ExplainOptions",
    "ExportOptions",
    "FaithfulnessOptions",
    "InspectOptions",
    "LimitOptions",
    "ListOptions",
    "ModalitiesOptions",
    "ModelOptions",
    "PairsOptions",
    "PlantOptions",
    "PredictOptions",
    "Recipe",
    "RenderOptions",
    "SignalOptions",
    "Table1Options",
    "Table2Options",
    "TablesOptions",
    "TrainOptions",
    "TweetsOptions",
]
