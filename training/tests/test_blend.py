"""Blended weights lie between those of two runs."""

from __future__ import annotations

import pytest
import torch

from dualstep_training import blend
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.config import Config, ConfigError
from dualstep_training.model import Dualstep


def _run(seed: int, config: str = "live") -> Checkpoint:
    torch.manual_seed(seed)
    net = Dualstep(Config.load(config).spec)
    return Checkpoint(net.spec.metadata(), net.state_dict(), net.state_dict(), f"data {seed}", float(seed), seed)


def test_weights_lie_between():
    earlier, later = _run(1), _run(2)
    for share in (0.0, 0.25, 1.0):
        found = blend.blend(earlier, later, share)
        for name, weight in found.average.items():
            if weight.is_floating_point():
                assert torch.allclose(weight, (1 - share) * earlier.average[name] + share * later.average[name], atol=1e-6), name
        assert (found.data, found.hours, found.step) == ("data 2", 2.0, 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="share is 1.5"):
        blend.blend(_run(1), _run(2), 1.5)
    with pytest.raises(ConfigError, match="different networks"):
        blend.blend(_run(1), _run(1, "studio"), 0.5)


def test_the_command_writes_a_run_and_replaces_none(tmp_path, capsys):
    _run(1).save(tmp_path / "earlier")
    _run(2).save(tmp_path / "later")
    command = ["--earlier", str(tmp_path / "earlier"), "--later", str(tmp_path / "later"), "--share", "0.5", "--run", str(tmp_path / "run")]
    assert blend.main(command) == 0
    assert Checkpoint.load(tmp_path / "run").network().spec.name == "live"
    assert blend.main(command) == 1
    assert "exists already" in capsys.readouterr().err
    assert blend.main([*command[:1], str(tmp_path / "none"), *command[2:-1], str(tmp_path / "other")]) == 1
    assert not (tmp_path / "other").exists()
