"""Measures of restored clips. All take `[batch, samples]` float tensors and give one number per clip, `[batch]`.

    python -m dualstep_training.metrics restored.wav reference.wav
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

TINY = 1e-12


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed; at most 100."""
    estimate = (estimate - estimate.mean(-1, keepdim=True)).double()
    reference = (reference - reference.mean(-1, keepdim=True)).double()
    scale = (estimate * reference).sum(-1, keepdim=True) / (reference.square().sum(-1, keepdim=True) + TINY)
    target = scale * reference
    noise = (estimate - target).square().sum(-1)
    signal = target.square().sum(-1)
    return (10 * torch.log10((signal + TINY) / (noise + 1e-10 * signal + TINY))).float()


def snr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-noise ratio in dB: unlike `si_sdr`, a wrong level counts as noise. At most 100."""
    signal = reference.double().square().sum(-1)
    noise = (estimate.double() - reference.double()).square().sum(-1)
    return (10 * torch.log10((signal + TINY) / (noise + 1e-10 * signal + TINY))).float()


def segmental_snr(estimate: Tensor, reference: Tensor, sample_rate: int = 48_000) -> Tensor:
    """Mean SNR of 32 ms segments, each limited to -10..35 dB; segments 60 dB below the loudest are left out."""
    size = int(0.032 * sample_rate)
    reference = reference.unfold(-1, size, size)
    noise = (estimate.unfold(-1, size, size) - reference).square().sum(-1)
    signal = reference.square().sum(-1)
    ratio = (10 * torch.log10((signal + TINY) / (noise + TINY))).clamp(-10, 35)
    counted = (signal > 1e-6 * signal.amax(-1, keepdim=True)).float()
    return (ratio * counted).sum(-1) / counted.sum(-1).clamp_min(1)


def log_spectral_distance(estimate: Tensor, reference: Tensor, floor_db: float = -60.0) -> Tensor:
    """Root-mean-square difference of log power spectra (dB) over bins, mean over frames.

    Powers below `floor_db` under the reference's highest are raised to it: silence isn't measured.
    """
    window = torch.hann_window(2048, device=estimate.device)

    def power(x: Tensor) -> Tensor:
        return torch.stft(x, 2048, 1024, window=window, return_complex=True, center=False).abs().square()

    a, b = power(estimate), power(reference)
    floor = b.amax((1, 2), keepdim=True) * 10 ** (floor_db / 10) + TINY
    difference = 10 * torch.log10(torch.maximum(a, floor) / torch.maximum(b, floor))
    return difference.square().mean(1).sqrt().mean(-1)


def level_change(estimate: Tensor, reference: Tensor) -> Tensor:
    """Root-mean-square level of the estimate against the reference's, in dB."""
    a, b = estimate.square().mean(-1), reference.square().mean(-1)
    return 10 * torch.log10((a + TINY) / (b + TINY))


def over_suppression(estimate: Tensor, reference: Tensor, noisy: Tensor) -> Tensor:
    """Energy lost (dB, positive is loss) in the time-frequency bins where the reference dominates the noise by 10 dB."""
    window = torch.hann_window(2048, device=estimate.device)

    def spectrum(x: Tensor) -> Tensor:
        return torch.stft(x, 2048, 1024, window=window, return_complex=True, center=False)

    clean = spectrum(reference)
    dominant = clean.abs() > 3.162 * (spectrum(noisy) - clean).abs()
    kept = (spectrum(estimate).abs().square() * dominant).sum((1, 2))
    there = (clean.abs().square() * dominant).sum((1, 2))
    return -10 * torch.log10((kept + TINY) / (there + TINY))


def energy_lost(estimate: Tensor, reference: Tensor, noisy: Tensor) -> Tensor:
    """Share (0..1) of the reference's energy that is missing, bin by bin, where it dominates the noise by 10 dB.

    Unlike in `over_suppression`, a bin that is too loud doesn't make up for one that is gone.
    """
    window = torch.hann_window(2048, device=estimate.device)

    def spectrum(x: Tensor) -> Tensor:
        return torch.stft(x, 2048, 1024, window=window, return_complex=True, center=False)

    clean = spectrum(reference)
    dominant = clean.abs() > 3.162 * (spectrum(noisy) - clean).abs()
    there = clean.abs().square() * dominant
    missing = (there - spectrum(estimate).abs().square()).clamp_min(0) * dominant
    return missing.sum((1, 2)) / (there.sum((1, 2)) + TINY)


def onset_changes(estimate: Tensor, reference: Tensor, sample_rate: int = 48_000) -> Tensor:
    """Level of each onset of one clip against the reference's, dB `[onsets]`; both clips `[samples]`.

    An onset is a 5 ms frame that is four times as strong as the mean of the four before it and lies within 30 dB of the loudest;
    after one, the next 50 ms hold no other. Its level is the energy of its first 20 ms.
    """
    size = int(0.005 * sample_rate)
    before, after = (clip[: len(clip) // size * size].view(-1, size).square().sum(1) for clip in (reference, estimate))
    past = before.unfold(0, 4, 1).mean(1)[:-1]
    candidates = (before[4:] > 4 * past) & (before[4:] > 1e-3 * before.max())
    found, last = [], -10
    for frame in (candidates.nonzero()[:, 0] + 4).tolist():
        if frame - last >= 10:
            found.append(10 * torch.log10((after[frame : frame + 4].sum() + TINY) / (before[frame : frame + 4].sum() + TINY)))
            last = frame
    return torch.stack(found) if found else torch.empty(0)


def main() -> int:
    """Prints the measures of one file against another."""
    import soundfile

    if len(sys.argv) != 3:
        print("usage: python -m dualstep_training.metrics RESTORED REFERENCE", file=sys.stderr)
        return 2
    clips, rates = [], []
    for path in sys.argv[1:]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        clips.append(torch.from_numpy(samples.mean(1))[None])
        rates.append(rate)
    if rates[0] != rates[1]:
        print(f"the files have {rates[0]} and {rates[1]} Hz", file=sys.stderr)
        return 1
    size = min(c.shape[1] for c in clips)
    restored, reference = (c[:, :size] for c in clips)
    print(f"SI-SDR                {si_sdr(restored, reference).item():7.2f} dB")
    print(f"SNR                   {snr(restored, reference).item():7.2f} dB")
    print(f"segmental SNR         {segmental_snr(restored, reference, rates[0]).item():7.2f} dB")
    print(f"log-spectral distance {log_spectral_distance(restored, reference).item():7.2f} dB")
    print(f"level change          {level_change(restored, reference).item():7.2f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
