"""How much two workers of one core each do against one such worker.

    python -m bench.archive RECORDING COPIES WORKERS

links `COPIES` copies of a recording into a folder, starts a local cluster of `WORKERS` single-threaded processes, lets each warm up on one
recording, and prints one line of JSON: seconds for all copies, their seconds of sound, and the largest memory of a worker (10^6 bytes).
"""
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.stages import peak_mb


def spread(path, folder, names):
    """The recording under several names: hard links where the disk has them, else copies."""
    folder.mkdir(parents=True)
    for name in names:
        try:
            os.link(path, folder / name)
        except OSError:
            shutil.copy2(path, folder / name)
    return folder


def names(count, day):
    """SoundTrap names of recordings that begin an hour apart."""
    return [f"6872.2207{day:02d}{hour:02d}0000.wav" for hour in range(count)]


def measure(path, copies, workers):
    """Work `copies` of the recording with a cluster of so many workers."""
    import soundfile
    from dask.distributed import Client, LocalCluster

    from pipeline import run_multi_file_pipeline
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as place, \
            LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster) as client:
        place = Path(place)
        run_multi_file_pipeline(spread(path, place / "warm", names(2 * workers, 1)), place / "warmed", scheduler=client, progress=False)
        folder = spread(path, place / "in", names(copies, 2))
        begin = time.perf_counter()
        summary = run_multi_file_pipeline(folder, place / "out", scheduler=client, progress=False)
        seconds = time.perf_counter() - begin
        if len(summary) != copies or (summary["status"] != "ok").any():
            raise RuntimeError(f"bench: of {copies} recordings only {(summary['status'] == 'ok').sum()} came out whole")
        return {"seconds": [seconds], "sound_s": copies * soundfile.info(path).duration, "peak_mb": max(client.run(peak_mb).values())}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
