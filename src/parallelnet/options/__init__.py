"""Every option there is: frozen dataclasses whose docstrings are the command line's help.

Standard library only, so that `parallelnet --help` stays instant. A value out of range raises `OptionError` that
names its flag.
"""

# isort: skip_file
# One import a module, not one a name.
from __future__ import annotations

from .checks import MOST_AT_ONCE as MOST_AT_ONCE
from .datasets import (
    InspectOptions as InspectOptions,
    PairsOptions as PairsOptions,
    TweetsOptions as TweetsOptions,
)
from .experiments import (
    PLANT_TASKS as PLANT_TASKS,
    FaithfulnessOptions as FaithfulnessOptions,
    ModalitiesOptions as ModalitiesOptions,
    PlantOptions as PlantOptions,
    RenderOptions as RenderOptions,
    Table1Options as Table1Options,
    Table2Options as Table2Options,
    TablesOptions as TablesOptions,
)
from .following import (
    ListenOptions as ListenOptions,
    TimelineOptions as TimelineOptions,
)
from .running import (
    MAX_DURATION_S as MAX_DURATION_S,
    MAX_PIXELS as MAX_PIXELS,
    ConsoleOptions as ConsoleOptions,
    EvaluateOptions as EvaluateOptions,
    ExplainOptions as ExplainOptions,
    ExportOptions as ExportOptions,
    LimitOptions as LimitOptions,
    ListOptions as ListOptions,
    ModelOptions as ModelOptions,
    PredictOptions as PredictOptions,
    SampleOptions as SampleOptions,
    SignalOptions as SignalOptions,
)
from .training import (
    PRESETS as PRESETS,
    AugmentOptions as AugmentOptions,
    Recipe as Recipe,
    TrainOptions as TrainOptions,
)
