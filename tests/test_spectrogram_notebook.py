"""The notebook runs without a reader, on a user's recording, and shows every figure."""
import papermill

from tests.conftest import ROOT
from tests.signals import white_noise, write


def test_01_spectrograms_runs_and_shows_five_figures(tmp_path):
    recording = write(tmp_path / "6872.220716021453.wav", white_noise(48000, 4, 0.01), 48000, "PCM_16")
    notebook = papermill.execute_notebook(ROOT / "spectrogram" / "01_spectrograms.ipynb", tmp_path / "01.ipynb", cwd=str(ROOT / "spectrogram"), progress_bar=False,
                                          kernel_name="python3", parameters={"audio": str(recording), "row_s": 1, "interactive": False})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    printed = "".join(o.get("text", "") for o in outputs)
    assert "hydrophone 6872" in printed and "'ECHO': 'missing'" in printed and "calibrated: True" in printed
