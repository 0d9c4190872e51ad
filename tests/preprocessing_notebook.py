"""A notebook of the preprocessing room, executed for a test."""
from pathlib import Path

import papermill

ROOM = Path(__file__).resolve().parents[1] / "preprocessing"


def outputs_of(name: str, folder: Path, parameters: dict) -> tuple[list, str]:
    """All outputs of the executed notebook, none of them an error, and their text."""
    notebook = papermill.execute_notebook(ROOM / f"{name}.ipynb", folder / f"{name}.ipynb", cwd=str(ROOM), progress_bar=False,
                                          kernel_name="python3", parameters=parameters, start_timeout=300)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    return outputs, "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs)
