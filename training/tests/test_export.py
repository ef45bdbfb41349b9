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


@pytest.mark.parametrize("lookahead", [0, 1])
def test_folded_network_equals_the_trained_one(lookahead):
    net = randomise(Dualstep(tiny.spec(lookahead)))
    trained, folded = golden(net), golden(folded_network(net.spec, fold_network(net)))
    assert trained["gain"].std() > 0.02, "the networks must do something for this to mean anything"
    for name in ("gain", "stage2"):
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
        *("balance_keep", "commit", "data", "hours"),
    }
    assert spec["segments"] == [[16, 1], [16, 3]]
    assert spec["level_rise"] == pytest.approx(1 - np.exp(-0.1))


def test_wrong_tensors_are_refused():
    net = randomise(Dualstep(tiny.spec()))
    good = fold_network(net)
    broken = dict(good)
    del broken["stage1.squeeze.bias"]
    with pytest.raises(ExportError, match="stage1.squeeze.bias is missing"):
        folded_network(net.spec, broken)
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
        # The statistics are measured: training mode sees nearly the same.
        with torch.no_grad():
            trained = fresh.train()(spectrum).gain[0].numpy()
        np.testing.assert_allclose(trained, expected["gain"], atol=1e-3)


def test_other_bins_are_refused_as_a_start(tmp_path):
    out = tmp_path / "w.safetensors"
    export(randomise(Dualstep(tiny.spec())), out, None, ORIGIN)
    other = dataclasses.replace(tiny.spec(), bins=48, segments=((16, 1), (16, 2)))
    with pytest.raises(ConfigError, match="bins 64, tiny asks for 48"):
        initialise(Dualstep(other), out, exporter.golden_spectrum(other))


def test_command_line_reports_a_missing_run(tmp_path, capsys):
    assert exporter.main(["--run", str(tmp_path), "--out", str(tmp_path / "w.safetensors")]) == 1
    assert "no checkpoint" in capsys.readouterr().err
