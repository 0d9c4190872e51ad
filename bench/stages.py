"""One stage of the way of one second of sound, timed in a process of its own.

    python -m bench.stages STAGE RECORDING SHORT_RECORDING REPEATS

prints one line of JSON: seconds per repeat, start_s (imports, compilers and the model's loading, on the short recording,
which the timed repeats then no longer pay) and peak_mb (the largest resident memory of the whole process, 10^6 bytes).

The parts run on one thread each, as they do inside the pipeline; `whole` and `reference` use what threads they like.

A stage is a function that is given a path, prepares what comes before the stage, and returns the work to be timed. A fresh
process for each keeps thread settings, caches and memory of one from touching the next: ours and the reference alike.
"""
import json
import os
import sys
import tempfile
import time
from contextlib import nullcontext

from spectrogram.threads import one_thread_per_call


def read(path):
    """All blocks of the recording, as float32 at full scale 1."""
    from spectrogram.recording import Recording

    def work():
        for _ in Recording(path).blocks(20.0):
            pass
    return work


def spectrogram(path):
    """Reading, the power spectrogram, and from it picture and levels."""
    from spectrogram.generator import SpectrogramGenerator
    from spectrogram.recording import Recording
    generator = SpectrogramGenerator()

    def work():
        for _ in generator.stream(Recording(path)):
            pass
    return work


def picture(path):
    """What the stages after the spectrogram start from: (frames, bands) dB of the whole recording."""
    from spectrogram.generator import SpectrogramGenerator
    return SpectrogramGenerator().picture(path)


def roi(path):
    """Boxes, given the picture."""
    from ROI import detect_regions
    from spectrogram.profile import load_profile
    made, profile = picture(path), load_profile()
    return lambda: detect_regions(made, profile)


def model(path):
    """Probabilities of all windows, given the picture."""
    import numpy as np
    from training.saved import load_model
    saved = load_model()
    profile = saved.profile
    windows = np.lib.stride_tricks.sliding_window_view(picture(path), profile.window_frames, axis=0)[::profile.step_frames]
    windows = np.ascontiguousarray(windows.transpose(0, 2, 1))  # (window, frame, band)
    return lambda: saved.predict(windows, overlapping=True)


def whole(path):
    """What a user calls: a recording in; events, windows, levels and effort out, as tables on disk."""
    from pipeline import run_pipeline_single_audio

    def work():
        with tempfile.TemporaryDirectory() as folder:
            run_pipeline_single_audio(path).save(folder)
    return work


def reference(path):
    """The closest peer's method, written anew."""
    from training.peer_recipe import reference_process
    return lambda: reference_process(path)


PARTS = {stage.__name__: stage for stage in (read, spectrogram, roi, model)}
STAGES = PARTS | {"whole": whole, "reference": reference}


def peak_mb():
    """Largest resident memory of this process so far, in 10^6 bytes.

    Linux keeps the peak of the program that started this one in `ru_maxrss`; VmHWM begins anew with each program.
    """
    if sys.platform.startswith("linux"):
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    if os.name == "nt":
        import psutil
        return psutil.Process().memory_info().peak_wset / 1e6
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


def measure(stage, path, short_path, repeats):
    """Time a stage `repeats` times on `path`, after one round on `short_path`."""
    begin = time.perf_counter()
    stage(short_path)()
    start_s = time.perf_counter() - begin
    work, seconds = stage(path), []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "start_s": start_s, "peak_mb": peak_mb()}


if __name__ == "__main__":
    name, path, short_path, repeats = sys.argv[1:]
    with one_thread_per_call() if name in PARTS else nullcontext():
        print(json.dumps(measure(STAGES[name], path, short_path, int(repeats))))
