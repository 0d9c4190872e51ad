"""Shared by all tests: where the real recordings lie, and a front end."""
import os
import signal
from pathlib import Path

import pytest

from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings: SEA_CANARY_DATA, or ../shared/data beside the project."""
    return Path(os.environ.get("SEA_CANARY_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def soundtrap(data_dir) -> list[Path]:
    """Three consecutive SoundTrap recordings of five minutes at 8 kHz, with their log.xml."""
    files = sorted((data_dir / "soundtrap").glob("*.flac"))
    if not files:
        pytest.skip(f"no SoundTrap recordings in {data_dir / 'soundtrap'}; set SEA_CANARY_DATA")
    return files


@pytest.fixture(scope="session")
def profile():
    return load_profile("beluga")


@pytest.fixture(scope="session")
def generator(profile):
    """The beluga front end; it keeps no state between recordings."""
    return SpectrogramGenerator(profile)


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where a shell that started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
