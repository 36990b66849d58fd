"""Which emotion a voice and a picture show, how sure that is, and why (ParallelNet, speech and image).

Public names load on first use (PEP 562), so that `import parallelnet` costs a few milliseconds and opens neither
onnxruntime nor torch.
"""

# isort: skip_file
# One import a module, not one a name.
from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# onnxruntime 1.29 and later send usage telemetry on Linux and macOS and leave an identifier in the user's cache. We
# handle people's voices and faces, so it is switched off, whatever the environment said before. Only this variable,
# and only before onnxruntime's import, stops it. This file runs before every module of ours, hence the one place.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

# Module: the public names that live in it.
_NAMES = {
    "types": "EMOTIONS SENTIMENTS FaceCrop Prediction Sample",
    "errors": "ParallelNetError",
    "options": "ExplainOptions LimitOptions SignalOptions",
    "predictor": "Predictor load predict",
    "batches": "predict_manifest",
    "evaluation": "Metrics evaluate",
    "explanation.result": "Explanation",
    "explanation.explaining": "explain",
    "explanation.batch": "explain_manifest write_explanation",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [*_HOMES, "__version__"]


if TYPE_CHECKING:
    from .batches import predict_manifest as predict_manifest
    from .errors import ParallelNetError as ParallelNetError
    from .evaluation import Metrics as Metrics, evaluate as evaluate
    from .explanation.batch import explain_manifest as explain_manifest, write_explanation as write_explanation
    from .explanation.explaining import explain as explain
    from .explanation.result import Explanation as Explanation
    from .options import ExplainOptions as ExplainOptions, LimitOptions as LimitOptions, SignalOptions as SignalOptions
    from .predictor import Predictor as Predictor, load as load, predict as predict
    from .types import EMOTIONS as EMOTIONS, SENTIMENTS as SENTIMENTS
    from .types import FaceCrop as FaceCrop, Prediction as Prediction, Sample as Sample


def __getattr__(name: str) -> Any:
    """Import the module of a public name on first use and keep the name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
