"""The sound of the benchmark: one simulated recording, a few seconds of it, and two hours of it. Block by block."""
import soundfile

BLOCK = 1 << 20  # samples
SITE, SEED = "CAC", 20220716
NAME, SHORT_NAME, LONG_NAME = "6872.220716021453.wav", "6872.220716010000.wav", "6872.220716030000.wav"


def simulate(folder, duration_s):
    """Write one simulated 192 kHz recording, with calls of all kinds and a boat, into `folder`; the same on every machine."""
    from preprocessing.soundscape import simulate_deployment
    simulate_deployment(folder, SITE, SEED, n_recordings=1, recording_s=duration_s, serial=NAME.split(".")[0], boats=True, version=1)  # the sound that earlier figures are of
    return folder / NAME


def fill(path, out, duration_s):
    """Write a recording of `duration_s` in the format of the one at `path`, by cutting or repeating it; returns `out`."""
    with soundfile.SoundFile(path) as source:
        left = int(duration_s * source.samplerate)
        with soundfile.SoundFile(out, "w", source.samplerate, source.channels, source.subtype) as target:
            while left > 0:
                block = source.read(min(BLOCK, left), dtype="int16", always_2d=True)
                target.write(block)
                left -= len(block)
                if source.tell() == source.frames:
                    source.seek(0)
    return out
