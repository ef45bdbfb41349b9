"""Weights files: folding, round trip, refusals."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from dualstep_training import export as exporter
from dualstep_training.checkpoint import initialise
from dualstep_training.config import FORMAT, ConfigError, Spec
from dualstep_training.export import ExportError, export, fold_network, folded_network, golden, randomise, read
from dualstep_training.model import Dualstep

ORIGIN = {"commit": "0" * 12, "data": "none", "hours": 0.5}

MUTE = dataclasses.replace(tiny.spec(), speech=False)
"""Without a speech network."""


@pytest.mark.parametrize("lookahead", [0, 1])
def test_folded_network_equals_the_trained_one(lookahead):
    net = randomise(Dualstep(tiny.spec(lookahead)))
    trained, folded = golden(net), golden(folded_network(net.spec, fold_network(net)))
    for name in ("gain", "speech_gain"):
        assert trained[name].std() > 0.02, "the networks must do something for this to mean anything"
    assert np.abs(trained["speech_gain"] - trained["gain"]).max() > 0.05
    for name in ("gain", "stage2", "speech_gain"):
        np.testing.assert_allclose(folded[name], trained[name], atol=1e-4, err_msg=name)


def test_round_trip_keeps_everything(tmp_path):
    net = randomise(Dualstep(tiny.spec()))
    out, vectors = tmp_path / "weights" / "tiny.safetensors", tmp_path / "golden.safetensors"
    export(net, out, vectors, ORIGIN)
    tensors, fields = read(out)
    assert Spec.from_metadata(fields) == net.spec
    assert {k: fields[k] for k in ORIGIN} == ORIGIN and fields["format"] == FORMAT
    for name, value in fold_network(net).items():
        assert torch.equal(tensors[name], value)
    saved = load_file(vectors)
    frames = exporter.GOLDEN_FRAMES
    assert {k: v.shape for k, v in saved.items()} == {
        "spectrum": (frames, 64, 2),
        "level": (frames,),
        "gain": (frames, 64),
        "stage2": (frames, 64, 2),
        "speech_gain": (frames, 64),
    }
    for name, value in golden(folded_network(net.spec, tensors)).items():
        np.testing.assert_array_equal(saved[name], value)
    assert not list(tmp_path.rglob("*.part"))


def test_metadata_is_what_the_engine_reads(tmp_path):
    out = tmp_path / "w.safetensors"
    export(randomise(Dualstep(tiny.spec())), out, None, ORIGIN)
    with safe_open(out, framework="np") as file:
        spec = json.loads(file.metadata()["spec"])
    assert set(spec) == {
        *("format", "name", "version", "hop_units", "analysis_hops", "synthesis_hops", "lookahead_hops", "bins"),
        *("segments", "stages", "taps", "balance", "level_rise", "level_fall", "level_floor", "floor_keep"),
        *("balance_keep", "speech", "commit", "data", "hours"),
    }
    assert spec["speech"] is True
    assert spec["segments"] == [[16, 1], [16, 3]]
    assert spec["level_rise"] == pytest.approx(1 - np.exp(-0.1))


def test_a_network_without_a_speech_network_writes_none(tmp_path):
    out, vectors = tmp_path / "w.safetensors", tmp_path / "golden.safetensors"
    export(randomise(Dualstep(MUTE)), out, vectors, ORIGIN)
    tensors, fields = read(out)
    assert fields["speech"] is False and not [name for name in tensors if name.startswith("speech.")]
    assert "speech_gain" not in load_file(vectors)


def test_random_weights_differ_in_every_tensor():
    """Or what takes one network's tensor for the other's would pass for right."""
    tensors = fold_network(randomise(Dualstep(tiny.spec())))
    names = [name for name in tensors if name.startswith("stage1.")]
    assert {name.replace("stage1.", "speech.") for name in names} == {name for name in tensors if name.startswith("speech.")}
    for name in names:
        assert not torch.allclose(tensors[name], tensors[name.replace("stage1.", "speech.")], atol=1e-3), name


@pytest.mark.parametrize("part, name", [("stage1", "gain"), ("stage2", "stage2"), ("speech", "speech_gain")])
def test_a_fold_that_changes_what_a_network_says_is_refused(tmp_path, monkeypatch, part, name):
    def wrong(net):
        tensors = fold_network(net)
        tensors[f"{part}.head.0.bias"] += 0.1
        return tensors

    monkeypatch.setattr(exporter, "fold_network", wrong)
    with pytest.raises(ExportError, match=f"changes {name} by"):
        export(randomise(Dualstep(tiny.spec())), tmp_path / "w.safetensors", None, ORIGIN)
    assert not list(tmp_path.iterdir())


def test_wrong_tensors_are_refused():
    net = randomise(Dualstep(tiny.spec()))
    good = fold_network(net)
    broken = dict(good)
    del broken["stage1.squeeze.bias"]
    with pytest.raises(ExportError, match="stage1.squeeze.bias is missing"):
        folded_network(net.spec, broken)
    with pytest.raises(ExportError, match="speech.gru.bias_hh_l0 is missing"):
        folded_network(net.spec, {name: value for name, value in good.items() if name != "speech.gru.bias_hh_l0"})
    with pytest.raises(ExportError, match="speech.decoder.0.0.bias is not one"):
        folded_network(MUTE, good)
    with pytest.raises(ExportError, match="stage2.extra is not one"):
        folded_network(net.spec, {**good, "stage2.extra": torch.zeros(1)})
    with pytest.raises(ExportError, match="asks for"):
        folded_network(net.spec, {**good, "stage1.position": torch.zeros(4, 31)})
    bad = good["stage1.position"].clone()
    bad[0, 0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        folded_network(net.spec, {**good, "stage1.position": bad})


def test_another_format_or_level_is_refused():
    fields = tiny.spec().metadata()
    with pytest.raises(ConfigError, match="format 1"):
        Spec.from_metadata({**fields, "format": 1})
    with pytest.raises(ConfigError, match="level_rise"):
        Spec.from_metadata({**fields, "level_rise": 0.5})


def test_a_network_can_start_from_an_exported_file(tmp_path):
    """Of another geometry too: live starts from studio's weights."""
    net = randomise(Dualstep(tiny.spec()))
    out = tmp_path / "w.safetensors"
    export(net, out, None, ORIGIN)
    for spec in (tiny.spec(), tiny.spec(0, "tiny-live", 2, 6)):
        fresh = Dualstep(spec)
        spectrum = exporter.golden_spectrum(spec)
        hours = initialise(fresh, out, spectrum)
        assert hours == 0.5
        expected, found = golden(folded_network(spec, fold_network(net))), golden(fresh)
        np.testing.assert_allclose(found["gain"], expected["gain"], atol=1e-4)
        np.testing.assert_allclose(found["stage2"], expected["stage2"], atol=1e-4)
        np.testing.assert_allclose(found["speech_gain"], expected["speech_gain"], atol=1e-4)
        # The statistics are measured: training mode sees nearly the same.
        with torch.no_grad():
            trained, speech = (fresh.train()(spectrum, speech=speech).gain[0].numpy() for speech in (False, True))
        np.testing.assert_allclose(trained, expected["gain"], atol=1e-3)
        np.testing.assert_allclose(speech, expected["speech_gain"], atol=1e-3)


def test_a_speech_network_begins_as_stage_one_where_a_file_has_none(tmp_path):
    out = tmp_path / "w.safetensors"
    export(randomise(Dualstep(MUTE)), out, None, ORIGIN)
    fresh = Dualstep(tiny.spec())
    spectrum = exporter.golden_spectrum(fresh.spec)
    initialise(fresh, out, spectrum)
    found, expected = golden(fresh.eval()), golden(folded_network(MUTE, read(out)[0]))
    np.testing.assert_allclose(found["gain"], expected["gain"], atol=1e-4)
    np.testing.assert_array_equal(found["speech_gain"], found["gain"])
    assert all(torch.equal(a, b) for a, b in zip(fresh.speech.state_dict().values(), fresh.stage1.state_dict().values()))


def test_a_file_that_lacks_a_part_of_its_speech_network_is_refused(tmp_path):
    """Stage 1 doesn't stand in for what is broken."""
    out = tmp_path / "w.safetensors"
    export(randomise(Dualstep(tiny.spec())), out, None, ORIGIN)
    tensors, fields = read(out)
    del tensors["speech.expand.weight"]
    exporter.write(out, {name: value.numpy() for name, value in tensors.items()}, {"spec": json.dumps(fields)})
    with pytest.raises(ExportError, match="speech.expand.weight is missing"):
        initialise(Dualstep(tiny.spec()), out, exporter.golden_spectrum(tiny.spec()))


def test_other_bins_are_refused_as_a_start(tmp_path):
    out = tmp_path / "w.safetensors"
    export(randomise(Dualstep(tiny.spec())), out, None, ORIGIN)
    other = dataclasses.replace(tiny.spec(), bins=48, segments=((16, 1), (16, 2)))
    with pytest.raises(ConfigError, match="bins 64, tiny asks for 48"):
        initialise(Dualstep(other), out, exporter.golden_spectrum(other))


def test_command_line_reports_a_missing_run(tmp_path, capsys):
    assert exporter.main(["--run", str(tmp_path), "--out", str(tmp_path / "w.safetensors")]) == 1
    assert "no checkpoint" in capsys.readouterr().err
