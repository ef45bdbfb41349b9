"""Wider networks that begin as narrower ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from dualstep_training.checkpoint import Checkpoint, initialise
from dualstep_training.config import ConfigError, StageSpec
from dualstep_training.export import export, fold_network, folded_network, golden, golden_spectrum, randomise
from dualstep_training.model import Dualstep

WIDER = StageSpec((7, 6, 9, 8, 13), 7)


def wider(first: bool = True, second: bool = False):
    """The tiny spec with one or both stages grown."""
    spec = tiny.spec()
    return replace(spec, stages=tuple(WIDER if grown else stage for grown, stage in zip((first, second), spec.stages)))


@pytest.mark.parametrize("exported", (False, True))
@pytest.mark.parametrize("spec", (wider(), wider(False, True), wider(True, True)))
def test_a_grown_network_does_the_same(tmp_path, spec, exported):
    narrow = randomise(Dualstep(tiny.spec()))
    if exported:
        start = tmp_path / "w.safetensors"
        export(narrow, start, None, {"commit": "c", "data": "d", "hours": 2.0})
    else:
        start = tmp_path
        Checkpoint(narrow.spec.metadata(), narrow.state_dict(), narrow.state_dict(), hours=2.0).save(start)
    wide = Dualstep(spec)
    assert initialise(wide, start, golden_spectrum(spec)) == 2.0
    expected, found = golden(narrow), golden(wide.eval())
    for name in ("gain", "stage2", "speech_gain"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
        assert np.abs(expected[name]).max() > 0.1
    # What is exported of it is the wide network.
    tensors = fold_network(wide)
    for name in ("stage1", "speech") if spec.stages[0] == WIDER else ("stage2",):
        assert tensors[f"{name}.squeeze.weight"].shape == (7, 13, 1, 1)
        # What new channels see was measured.
        assert all(value.abs().min() > 0 for key, value in wide.state_dict().items() if key.startswith(name) and "running_mean" in key)
    np.testing.assert_allclose(golden(folded_network(spec, tensors))["gain"], expected["gain"], atol=1e-4)


@pytest.mark.parametrize("exported", (False, True))
def test_a_grown_speech_network_begins_as_a_narrow_stage_one(tmp_path, exported):
    narrow = randomise(Dualstep(replace(tiny.spec(), speech=False)))
    start = tmp_path / "w.safetensors" if exported else tmp_path
    if exported:
        export(narrow, start, None, {"commit": "c", "data": "d", "hours": 2.0})
    else:
        Checkpoint(narrow.spec.metadata(), narrow.state_dict(), narrow.state_dict()).save(start)
    wide = Dualstep(wider())
    initialise(wide, start, golden_spectrum(wide.spec))
    expected, found = golden(narrow), golden(wide.eval())
    for name in ("gain", "speech_gain"):
        np.testing.assert_allclose(found[name], expected["gain"], atol=1e-4)


def test_a_network_that_is_to_have_no_speech_network_gets_none(tmp_path):
    both, neither = randomise(Dualstep(tiny.spec())), Dualstep(replace(tiny.spec(), speech=False))
    Checkpoint(both.spec.metadata(), both.state_dict(), both.state_dict()).save(tmp_path)
    initialise(neither, tmp_path, golden_spectrum(neither.spec))
    expected, found = golden(both), golden(neither.eval())
    assert set(expected) - set(found) == {"speech_gain"}
    np.testing.assert_allclose(found["stage2"], expected["stage2"], atol=1e-5)


def test_new_channels_learn(tmp_path):
    narrow = randomise(Dualstep(tiny.spec()))
    Checkpoint(narrow.spec.metadata(), narrow.state_dict(), narrow.state_dict()).save(tmp_path)
    wide = Dualstep(wider())
    initialise(wide, tmp_path, golden_spectrum(wide.spec))
    before = {name: value.clone() for name, value in wide.stage1.named_parameters()}
    optimiser = torch.optim.SGD(wide.stage1.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        wide.train()(golden_spectrum(wide.spec), stages=1).gain.square().mean().backward()
        optimiser.step()
    for name, value in wide.stage1.named_parameters():
        assert not torch.equal(value, before[name]), name
    # Into old channels from new ones too: the zeros open at the first step.
    for name, old in (("encoder.1.0.weight", (6, 4)), ("decoder.0.1.weight", (4, 4)), ("expand.weight", (10, 5))):
        assert wide.stage1.get_parameter(name)[: old[0], old[1] :].abs().max() > 0, name


def test_weights_of_another_format_are_refused(tmp_path):
    narrow = Dualstep(tiny.spec())
    Checkpoint({**narrow.spec.metadata(), "format": 4}, narrow.state_dict(), narrow.state_dict()).save(tmp_path)
    with pytest.raises(ConfigError, match="weights of format 4; this code reads 5"):
        initialise(Dualstep(wider()), tmp_path, golden_spectrum(wider()))


def test_a_network_is_not_made_narrower(tmp_path):
    wide = Dualstep(wider())
    Checkpoint(wide.spec.metadata(), wide.state_dict(), wide.state_dict()).save(tmp_path)
    with pytest.raises(ConfigError, match="stage 1 of the weights.*can grow, but not shrink"):
        initialise(Dualstep(tiny.spec()), tmp_path, golden_spectrum(tiny.spec()))
