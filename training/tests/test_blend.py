"""Blended weights lie between those of two runs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dualstep_training import blend
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.config import Config, ConfigError
from dualstep_training.model import Dualstep


def _run(seed: int, config: str = "live", speech: bool = True) -> Checkpoint:
    torch.manual_seed(seed)
    net = Dualstep(dataclasses.replace(Config.load(config).spec, speech=speech))
    return Checkpoint(net.spec.metadata(), net.state_dict(), net.state_dict(), f"data {seed}", float(seed), seed)


def test_weights_lie_between():
    earlier, later = _run(1), _run(2)
    for share in (0.0, 0.25, 1.0):
        found = blend.blend(earlier, later, share)
        for name, weight in found.average.items():
            if weight.is_floating_point():
                assert torch.allclose(weight, (1 - share) * earlier.average[name] + share * later.average[name], atol=1e-6), name
        assert (found.data, found.hours, found.step) == ("data 2", 2.0, 2)


def test_a_speech_network_that_the_earlier_run_lacks_is_its_stage_one():
    """Also if that run is so old that its spec says nothing of it."""
    earlier, later = _run(1, speech=False), _run(2)
    del earlier.spec["speech"]
    found = blend.blend(earlier, later, 0.25).network().state_dict()
    assert found.keys() == later.average.keys()
    for name in ("stem.0.weight", "gru.bias_hh_l0", "decoder_norm.0.0.running_var"):
        expected = 0.75 * earlier.average[f"stage1.{name}"] + 0.25 * later.average[f"speech.{name}"]
        assert torch.allclose(found[f"speech.{name}"], expected, atol=1e-6), name


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="different networks"):
        blend.blend(_run(1), _run(2, speech=False), 0.5)
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
