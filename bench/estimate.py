"""A paper estimate from what the bench measured: cores and hours for terabytes of 192 kHz 16-bit recordings, and what limits each.

Four things happen side by side or one after another: workers compute, as many seconds of sound a second on each core as two workers did on two cores;
a disk or a network brings the bytes; one process gives out recordings and writes what comes back; and at the end one process joins the tables. The
slowest of the first three sets the pace, joining is added. Nothing of this size was run: it is an estimate, for cores like this machine's.
"""
BYTES_PER_S, RECORDING_S = 192_000 * 2, 600.0
DISK, NETWORK = ("one hard disk at 200 MB/s", 200e6), ("10 Gbit/s network", 1.2e9)  # what such things bring in practice
CASES = [("10 TB", 10e12, 2, DISK), ("10 TB", 10e12, 16, DISK), ("1 PB", 1e15, 8, NETWORK), ("1 PB", 1e15, 64, NETWORK)]


def hours(size_bytes, cores, source_bytes_per_s, figures):
    """Hours that computing, reading, giving out and joining take.

    figures : sound_per_core (seconds of sound a second), asking_s and joining_s of a recording.
    """
    sound_s = size_bytes / BYTES_PER_S
    recordings = sound_s / RECORDING_S
    return {"computing": sound_s / figures["sound_per_core"] / cores / 3600, "reading": size_bytes / source_bytes_per_s / 3600,
            "giving out": recordings * figures["asking_s"] / 3600, "joining": recordings * figures["joining_s"] / 3600}


def whole(parts):
    """(hours in all, what limits them)."""
    side_by_side = {name: value for name, value in parts.items() if name != "joining"}
    slowest = max(side_by_side, key=side_by_side.get)
    return side_by_side[slowest] + parts["joining"], slowest if side_by_side[slowest] > parts["joining"] else "joining"


def figures_of(result):
    """What the estimate needs of the bench's result."""
    two = result["archive"]["2"]
    return {"sound_per_core": two["sound_s"] / two["seconds"][0] / 2, "asking_s": two["asking_s"], "joining_s": two["joining_s"]}


def estimate(result):
    """Lines to print."""
    figures = figures_of(result)
    yield (f"Estimate for archives of 192 kHz 16-bit recordings of {RECORDING_S / 60:g} minutes, on cores like these ({figures['sound_per_core']:.0f} x real time each, "
           f"{figures['sound_per_core'] * BYTES_PER_S / 1e6:.0f} MB/s); each recording takes {1000 * figures['asking_s']:.0f} ms to give out, {1000 * figures['joining_s']:.1f} ms to join")
    yield f"{'':<8}{'sound':>12}{'core-hours':>12}{'cores':>7}{'computing':>11}{'reading':>9}{'giving out':>12}{'joining':>9}{'in all':>9}   limited by"
    for name, size_bytes, cores, (source, speed) in CASES:
        parts = hours(size_bytes, cores, speed, figures)
        total, limit = whole(parts)
        yield (f"{name:<8}{size_bytes / BYTES_PER_S / 3600:>10,.0f} h{parts['computing'] * cores:>12,.0f}{cores:>7}{parts['computing']:>9,.1f} h{parts['reading']:>7,.1f} h"
               f"{parts['giving out']:>10,.1f} h{parts['joining']:>7,.1f} h{total:>7,.0f} h   {limit if limit != 'reading' else source}")
