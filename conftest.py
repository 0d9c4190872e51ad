"""Settings for all tests: figures are drawn without a screen."""
import os

os.environ.setdefault("MPLBACKEND", "Agg")
