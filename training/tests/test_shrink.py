"""Shrinking of stage 2's addition: it is a share of what was added, nothing else changes, and the file stays a whole one."""

import json

import pytest
import tiny
import torch

from dualstep_training import shrink
from dualstep_training.config import ConfigError, Spec
from dualstep_training.data import CacheWriter
from dualstep_training.export import export, folded_network, golden, randomise, read
from dualstep_training.model import Dualstep, Restored

ORIGIN = {"commit": "abc", "data": "none", "hours": 1.5}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "tiny.safetensors"
    export(randomise(Dualstep(tiny.spec())), path, None, ORIGIN)
    return path


def added(path, share: float | None = None) -> tuple[torch.Tensor, Restored]:
    """What stage 2's U-Net says of fixed features, and what the whole network makes of a fixed spectrum."""
    tensors, fields = read(path)
    if share is not None:
        tensors = shrink.shrunk(tensors, share)
    net = folded_network(Spec.from_metadata(fields), tensors).eval()
    torch.manual_seed(0)
    spectrum = 0.1 * torch.randn(1, 12, 64, 2)
    with torch.no_grad():
        return net._run(net.stage2, torch.randn(1, 6, 12, 64, generator=torch.Generator().manual_seed(1))), net(spectrum)


def test_what_is_added_is_a_share_of_what_was(weights):
    whole, out = added(weights)
    for share in (0.25, 0.5):
        part, same = added(weights, share)
        assert torch.allclose(part, share * whole, atol=1e-6)
        assert torch.equal(same.stage1, out.stage1)
    assert not added(weights, 0.0)[0].any()


def test_a_weights_file_is_rewritten_with_its_golden_vectors(weights, tmp_path):
    before, fields = read(weights)
    assert shrink.main(["apply", "--weights", str(weights), "--share", "0.5", "--golden", str(tmp_path / "golden.safetensors")]) == 0
    after, same = read(weights)
    assert same == fields and json.loads(json.dumps(same))["hours"] == 1.5
    for name, value in before.items():
        assert torch.equal(after[name], 0.5 * value if name.startswith("stage2.head.") else value), name
    vectors, _ = read(tmp_path / "golden.safetensors")
    expected = golden(folded_network(Spec.from_metadata(fields), after))
    assert torch.equal(vectors["stage2"], torch.from_numpy(expected["stage2"]))


def test_a_share_beyond_all_is_refused(weights, capsys):
    for share in ("-0.1", "1.5"):
        assert shrink.main(["apply", "--weights", str(weights), "--share", share]) == 1
        assert "expected 0 (nothing of it) to 1" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        shrink.shrunk({}, 2.0)


def test_scores_tell_every_kind_and_share(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shrink, "SECONDS", 3.0)
    writer = CacheWriter(tmp_path / "cache")
    for kind in ("music", "speech", "drums"):
        for number in range(2):
            clip = tiny.clips(1, 12 * tiny.RATE_HZ, number)[0].numpy()
            writer.add((clip / abs(clip).max() * 20_000).astype("int16"), "made", f"{kind}{number}", kind, f"{kind}/{number}", "valid")
    writer.flush()
    assert shrink.main(["score", "--cache", str(tmp_path / "cache"), "--weights", str(weights), "--clips", "1"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 + len(shrink.KINDS)
    assert all(line.count("|") == 3 + 2 * len(shrink.SHARES) for line in lines)
