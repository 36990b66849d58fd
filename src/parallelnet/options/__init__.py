"""Every option there is: frozen dataclasses whose docstrings are the command line's help.

Standard library only, so that `parallelnet --help` stays instant. A value out of range raises `OptionError` that
names its flag.
"""

# ruff: noqa: F403  # all that the modules have, under one name
from .checks import *
from .datasets import *
from .experiments import *
from .following import *
from .running import *
from .training import *
