"""Any source of speech to mono 16 kHz (design section 4).

Read to the real end: what a header says of its length is a promise to be kept, never a reason to stop before it.
"""

from .reading import RATES_HZ, SAMPLE_RATE_HZ, Source, Waveform, read, read_long, stream
from .stored import Kept, gathered, pieces

__all__ = [
    "RATES_HZ", "SAMPLE_RATE_HZ", "Kept", "Source", "Waveform", "gathered", "pieces", "read", "read_long", "stream",
]  # fmt: skip
