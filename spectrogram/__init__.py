"""Recording -> calibrated spectrogram.

    from spectrogram import SPECT_GENERATOR, HYDROPHONE_SENSITIVITY

`SPECT_GENERATOR` is built from the species profile that `PROFILE` in `.env` names (beluga unless told) when it is first used.
"""
from pathlib import Path

from dotenv import load_dotenv

from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY

load_dotenv(Path(__file__).resolve().parents[1] / ".env")

__version__ = "0.2.0"
__all__ = ["SPECT_GENERATOR", "HYDROPHONE_SENSITIVITY"]


def __getattr__(name: str):
    if name == "SPECT_GENERATOR":
        from spectrogram.generator import SpectrogramGenerator

        globals()[name] = SpectrogramGenerator()
        return globals()[name]
    raise AttributeError(f"module 'spectrogram' has no attribute {name!r}")
