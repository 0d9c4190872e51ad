"""The closest peer's recipe, written anew from its description: the yardstick for our figures and, in `make bench`, for our speed.

Front end: librosa STFT (n_fft 2048, hop 1024, Hann, centred) to 64 Slaney mels of 200 Hz to 96 kHz, divided by the sensitivity, dB with
top_db 80 below the loudest cell of the piece, min-max to 0..1 in each one-second window, resized to 244 x 244 with scikit-image. Network:
MobileNetV3-small (Howard et al. 2019) cut after feature block 8, one input channel, mean over the map, 256 units, ReLU, dropout 0.5.
Training: Adam 1e-3, binary cross-entropy, learning rate halved on a plateau of validation macro F1, early stopping; threshold 0.5 for
every label; no augmentation. The peer starts from ImageNet weights, here they are drawn anew. Its levels are off by some 37 dB (no
division by the window's energy and the sample rate); they are computed as it does, because only their cost matters here.

`reference_process` is its whole way through one file, as far as time goes: everything it does per second, with its batching.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from training.checkpoints import read_checkpoint
from training.data import WindowSet
from training.model import positions_of

RATE_HZ, N_FFT, HOP, MELS, LOW_HZ, HIGH_HZ, SIZE = 192_000, 2048, 1024, 64, 200.0, 96_000.0, 244
FRAMES_PER_S = RATE_HZ / HOP
WINDOW_FRAMES = int(FRAMES_PER_S)  # 187, as the peer cuts its long spectrograms
PIECE_S, SKIP_S, NOISE_WINDOWS, NOISE_BELOW, ACTIVE_DB, THRESHOLD = 128, 4, 5, 0.1, 5.0, 0.5
RANGES_HZ = {"w": (200.0, 22_000.0), "hf": (40_000.0, 90_000.0)}


class PeerNet(nn.Module):
    """(batch, 1, 244, 244) -> (window logits (batch, labels), None): the None stands for the positions it does not have."""

    def __init__(self, n_labels: int, blocks: int = 8):
        super().__init__()
        from torchvision.models import mobilenet_v3_small

        self.arguments = {"n_labels": n_labels, "blocks": blocks}
        self.features = mobilenet_v3_small(weights=None).features[:blocks + 1]
        self.features[0][0] = nn.Conv2d(1, 16, 3, 2, 1, bias=False)
        with torch.no_grad():
            channels = self.features.eval()(torch.zeros(1, 1, SIZE, SIZE)).shape[1]
        self.features.train()
        self.head = nn.Sequential(nn.Linear(channels, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, n_labels))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.head(self.features(x).mean(dim=(2, 3))), None


def mel_db(samples: np.ndarray, sensitivity_db: float = 0.0) -> np.ndarray:
    """(mels, frames) dB of 192 kHz samples, as the peer makes it, its window-energy mistake included."""
    import librosa

    power = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, fmin=LOW_HZ, fmax=HIGH_HZ)
    return librosa.power_to_db(power / (10 ** (sensitivity_db / 20)) ** 2, ref=1.0, top_db=80) - 10 * np.log10(RATE_HZ / N_FFT)


def min_max(picture: np.ndarray) -> np.ndarray:
    """To 0..1; a constant picture becomes zeros."""
    low, high = picture.min(), picture.max()
    return (picture - low) / (high - low) if high > low else np.zeros_like(picture)


# ---- training on the same data


@dataclass
class PeerWindows(torch.utils.data.Dataset):
    """Windows of manifest rows as the peer's network sees them. Enlarging by torch here equals scikit-image's but for the rim, and is quicker."""

    rows: pd.DataFrame
    folder: Path
    labels: tuple

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        part = self.rows.iloc[np.asarray(numbers)]
        starts = np.floor(part["start_s"].to_numpy() * FRAMES_PER_S).astype(int)
        pictures = [min_max(np.load(self.folder / name, mmap_mode="r")[:, i:i + WINDOW_FRAMES]) for name, i in zip(part["picture"], starts)]
        x = nn.functional.interpolate(torch.from_numpy(np.stack(pictures)[:, None]), (SIZE, SIZE), mode="bilinear", align_corners=False)
        return x, torch.from_numpy(part[[f"target_{label}" for label in self.labels]].to_numpy(np.float32, copy=True))


class PeerView(WindowSet):
    """The same windows for `training.fit`: pictures (n, 1, 244, 244) as the peer makes them, never augmented, and no targets of positions (NaN)."""

    def __init__(self, data, rows: pd.DataFrame, profile, pictures: Path, how=None, seed: int = 0):
        super().__init__(data, rows, profile, how, seed)
        self.seen = PeerWindows(self.rows, Path(pictures), profile.labels)

    def __getitems__(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, target = self.seen.__getitems__(np.asarray(numbers) % len(self))
        return x, target, torch.full((*target.shape, positions_of(self.profile.window_frames)), torch.nan)


def make_peer_pictures(recordings: pd.DataFrame, folder: str | Path) -> Path:
    """Mel pictures of 192 kHz recordings (`path`, `recording`) in pieces of 128 s, one (mels, frames) file each; finished files are kept."""
    import soundfile
    from tqdm.auto import tqdm

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for row in tqdm(recordings.to_dict("records"), desc="peer pictures", unit="file"):
        final = folder / (row["recording"].replace("/", "__") + ".npy")
        if not final.exists():
            samples, rate_hz = soundfile.read(row["path"], dtype="float32")
            if rate_hz != RATE_HZ:
                raise ValueError(f"{row['path']}: {rate_hz} Hz; the peer's recipe is compared on 192 kHz recordings only")
            step = PIECE_S * RATE_HZ
            picture = np.concatenate([mel_db(samples[i:i + step]) for i in range(0, len(samples), step)], axis=1)
            np.save(final, picture.astype(np.float32))
    return folder


def train_peer(manifest: pd.DataFrame, pictures: Path, labels: tuple, epochs: int = 30, seed: int = 0, batch_size: int = 32,
               kept: Path | None = None) -> tuple[PeerNet, list[dict]]:
    """Fit the peer's network to the train windows that begin on a whole second (it knows no others); best epoch by validation macro F1.

    kept : a file that holds the state after each epoch; a run that finds it goes on from there, and ends as an uninterrupted one.
    """
    from tqdm.auto import tqdm

    from training.data import as_is
    from training.losses import masked_bce

    torch.manual_seed(seed)
    net = PeerNet(len(labels)).to(memory_format=torch.channels_last)  # twice as fast on a processor
    whole = manifest[manifest["start_s"] % 1 == 0]
    sets = {split: PeerWindows(whole[whole["split"] == split], pictures, labels) for split in ("train", "validation")}
    order = torch.Generator()
    batches = torch.utils.data.DataLoader(sets["train"], batch_size, shuffle=True, collate_fn=as_is, generator=order)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", factor=0.5, patience=2, threshold=1e-3, threshold_mode="abs")
    history, best, since_best = [], net.state_dict(), 0
    if kept and kept.exists():
        state = read_checkpoint(kept, ("net", "optimiser", "schedule", "history", "best", "since_best"))
        net.load_state_dict(state["net"]), optimiser.load_state_dict(state["optimiser"]), schedule.load_state_dict(state["schedule"])
        history, best, since_best = state["history"], state["best"], state["since_best"]
    for epoch in range(len(history), epochs):
        torch.manual_seed(seed * 1000 + epoch)  # the same dropout and order, whether resumed or not
        order.manual_seed(seed * 1000 + epoch)
        net.train()
        for x, target in tqdm(batches, desc=f"peer epoch {epoch}", leave=False):
            optimiser.zero_grad()
            masked_bce(net(x.contiguous(memory_format=torch.channels_last))[0], target).backward()
            optimiser.step()
        f1 = macro_f1(peer_predict(net, sets["validation"].rows, pictures, labels), sets["validation"].rows, labels)
        schedule.step(f1)
        since_best += 1
        if f1 > max((h["val_macro_f1"] for h in history), default=-1.0):
            best, since_best = {k: v.clone() for k, v in net.state_dict().items()}, 0
        history.append({"epoch": epoch, "val_macro_f1": f1})
        if kept:
            torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(), "history": history, "best": best,
                        "since_best": since_best}, kept)
        if epoch >= 9 and since_best >= 5:
            break
    net.load_state_dict(best)
    return net.eval(), history


def peer_predict(net: PeerNet, rows: pd.DataFrame, pictures: Path, labels: tuple, batch: int = 128) -> np.ndarray:
    """(rows, labels) probabilities."""
    windows = PeerWindows(rows, pictures, labels)
    net.eval()
    with torch.inference_mode():
        parts = [torch.sigmoid(net(windows.__getitems__(list(range(i, min(i + batch, len(rows))))) [0])[0]).numpy() for i in range(0, len(rows), batch)]
    return np.concatenate(parts)


def macro_f1(prob: np.ndarray, rows: pd.DataFrame, labels: tuple) -> float:
    from training.evaluate import call_labels, columns
    from training.metrics import window_metrics

    return window_metrics(columns(rows, "target", labels), prob, dict.fromkeys(labels, THRESHOLD), labels, call_labels(labels))["macro"]["f1"]


# ---- the whole way through one file, for the benchmark


def reference_process(path: str | Path, net: PeerNet | None = None, labels: tuple = ("ECHO", "HFPC", "BBPC", "Whistle"), sensitivity_db: float = -170.0) -> pd.DataFrame:
    """One row per second of a recording: probabilities, labels, levels and signal-to-noise ratios, as the peer's pipeline makes them.

    Parameters
    ----------
    net : a trained PeerNet; without one an untrained network that finds no call stands in, which costs the same per window (and less than a
        trained one while the peer looks for its first noise).
    """
    import librosa
    from skimage.transform import resize

    net = (net or silent_net(len(labels))).eval()
    samples, _ = librosa.load(path, sr=RATE_HZ)
    in_range = {name: (centres_hz() >= low) & (centres_hz() <= high) for name, (low, high) in RANGES_HZ.items()}

    def probabilities(windows: list[np.ndarray]) -> np.ndarray:
        x = np.stack([resize(min_max(w), (SIZE, SIZE), mode="reflect", anti_aliasing=True) for w in windows])
        with torch.no_grad():
            return torch.sigmoid(net(torch.from_numpy(x[:, None].astype(np.float32)))[0]).numpy().round(3)

    noise: deque[np.ndarray] = deque(maxlen=NOISE_WINDOWS)
    for second in range(min(500, len(samples) // RATE_HZ)):  # first noise: single windows from the start until five are quiet
        window = mel_db(samples[second * RATE_HZ:(second + 1) * RATE_HZ], sensitivity_db)
        if probabilities([window]).max() < NOISE_BELOW:
            noise.append(window[:, 10:-10])
        if len(noise) == NOISE_WINDOWS:
            break
    rows, step = [], PIECE_S * RATE_HZ
    for start in range(SKIP_S * RATE_HZ, len(samples), step):
        picture = mel_db(samples[start:start + step], sensitivity_db)
        windows = [picture[:, i:i + WINDOW_FRAMES] for i in range(0, picture.shape[1] - WINDOW_FRAMES + 1, WINDOW_FRAMES)]
        if not windows:
            continue
        if not noise:
            noise.append(np.median(np.stack(windows), axis=0))
        for k, (window, prob) in enumerate(zip(windows, probabilities(windows))):
            if prob.max() < NOISE_BELOW:
                if window.mean() < np.mean([n.mean() for n in noise]):
                    noise.clear()
                noise.append(window)
            profile = np.concatenate(noise, axis=1)
            row = {"seconds_since_file_start": start / RATE_HZ + k, "Call_Detection": float(prob.max())}
            row |= {f"{label}_prob": float(p) for label, p in zip(labels, prob)} | {label: bool(p >= THRESHOLD) for label, p in zip(labels, prob)}
            for name, chosen in in_range.items():
                row |= level_statistics(window[chosen], profile[chosen], name)
            rows.append(row)
    return pd.DataFrame(rows)


def level_statistics(window: np.ndarray, noise: np.ndarray, name: str) -> dict:
    """The peer's dB statistics of a window and of the noise in a range of bands, and its signal-to-noise ratio through time."""
    row = {}
    for what, cells in (("window", window), ("noise", noise)):
        for statistic in (np.mean, np.max, np.min, np.median):
            row[f"db_{what}_{name}_range_{statistic.__name__}"] = round(float(statistic(cells)), 1)
    snr_db = (window - np.percentile(noise, 95, axis=1)[:, None]).max(axis=0)
    active = snr_db > ACTIVE_DB
    return row | {f"snr_{name}_range_avg_window": float(snr_db.mean()), f"snr_{name}_range_signal_active_time": float(active.mean()),
                  f"snr_{name}_range_signal_present": bool(active.mean() > 0.05), f"snr_{name}_range_avg_signal": float(snr_db[active].mean()) if active.any() else 0.0}


def centres_hz() -> np.ndarray:
    """(mels,) centre frequencies of the peer's bands."""
    import librosa

    return librosa.mel_frequencies(n_mels=MELS + 2, fmin=LOW_HZ, fmax=HIGH_HZ)[1:-1]


def silent_net(n_labels: int) -> PeerNet:
    """An untrained network that answers about 0.02 to everything."""
    torch.manual_seed(0)
    net = PeerNet(n_labels)
    nn.init.zeros_(net.head[-1].weight)
    nn.init.constant_(net.head[-1].bias, -4.0)
    return net
