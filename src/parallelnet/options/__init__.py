"""Every option there is: frozen dataclasses whose docstrings are the command line's help.

Standard library only, so that `parallelnet --help` stays instant. A value out of range raises `OptionError` that
names its flag.
"""

from __future__ import annotations

from .checks import MOST_AT_ONCE as MOST_AT_ONCE
from .datasets import InspectOptions as InspectOptions
from .datasets import PairsOptions as PairsOptions
from .datasets import TweetsOptions as TweetsOptions
from .experiments import PLANT_TASKS as PLANT_TASKS
from .experiments import FaithfulnessOptions as FaithfulnessOptions
from .experiments import ModalitiesOptions as ModalitiesOptions
from .experiments import PlantOptions as PlantOptions
from .experiments import RenderOptions as RenderOptions
from .experiments import Table1Options as Table1Options
from .experiments import Table2Options as Table2Options
from .experiments import TablesOptions as TablesOptions
from .running import MAX_DURATION_S as MAX_DURATION_S
from .running import MAX_PIXELS as MAX_PIXELS
from .running import ConsoleOptions as ConsoleOptions
from .running import EvaluateOptions as EvaluateOptions
from .running import ExplainOptions as ExplainOptions
from .running import ExportOptions as ExportOptions
from .running import LimitOptions as LimitOptions
from .running import ListOptions as ListOptions
from .running import ModelOptions as ModelOptions
from .running import PredictOptions as PredictOptions
from .running import SampleOptions as SampleOptions
from .running import SignalOptions as SignalOptions
from .training import PRESETS as PRESETS
from .training import AugmentOptions as AugmentOptions
from .training import Recipe as Recipe
from .training import TrainOptions as TrainOptions
