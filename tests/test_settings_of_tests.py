"""What a user's `.env` or shell sets does not reach tests, nor the processes that they start."""
import subprocess
import sys
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[1]


def test_no_setting_of_env_is_set_here_or_in_a_process_that_a_test_starts(tmp_path):
    names = {*dotenv_values(ROOT / ".env.example"), *dotenv_values(ROOT / ".env")} - {"SEA_CANARY_DATA"}
    code = "import os, sys, spectrogram; print(sorted({*sys.argv[1:]} & {*os.environ}))"
    there = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(names) >= 6 and there.stdout.strip() == "[]"
