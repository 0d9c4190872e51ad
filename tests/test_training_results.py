"""What is committed in results/: every figure comes again from the tables beside it."""
import pytest

from training.recompute import differences, recomputed
from training.run import RESULTS

FOLDERS = sorted(p.parent for p in RESULTS.glob("*/metrics.json") if (p.parent / "predictions.parquet").exists())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_metric_comes_again_from_its_predictions(folder):
    again, missing = recomputed(folder)
    assert differences(folder, found=(again, missing)) == []
    if (folder / "data_card.md").exists():  # written by the code that also keeps the predictions of what stands beside the network
        assert missing == []

