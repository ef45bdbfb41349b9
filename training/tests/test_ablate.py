"""The ablation: every variant trains, differs in what it says, and one that fails spoils nothing."""

import dataclasses
import json

import pytest
import tiny
import torch
from test_train import write_cache

from dualstep_training import ablate
from dualstep_training.config import Config
from dualstep_training.macs import macs_per_frame
from dualstep_training.model import Dualstep, costs
from dualstep_training.stft import Stft
from dualstep_training.validate import KINDS
from dualstep_training.variants import VARIANTS, Variant, as_dear_as_both

NAMES = {variant.name: variant for variant in VARIANTS}


def made(variant: Variant):
    torch.manual_seed(0)
    return variant.net(variant.spec(tiny.spec()))


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_says_something_and_learns(name):
    variant, net = NAMES[name], made(NAMES[name])
    spec = net.spec
    clean = tiny.clips(2, 9600, 0)
    stft = Stft(spec, tiny.RATE_HZ)
    x, y = (stft.network(stft.forward(clip)) for clip in (clean + 0.05 * torch.randn(clean.shape), clean))
    out = net.train()(x)
    assert out.gain.shape == x.shape[:3] and out.stage1.shape == out.stage2.shape == x.shape
    assert 0 <= float(out.gain.min()) and float(out.gain.max()) <= 1.001
    variant.loss(spec, variant.weights)(net(x, stages=1 if variant.stage == "1" else 2), x, y, y, variant.stage)["total"].backward()
    heads = [p for n, p in net.named_parameters() if ".head." in n]
    assert heads and all(float(p.grad.abs().max()) > 0 for p in heads)


def test_variants_are_what_they_say():
    assert tiny.spec().speech and all(made(variant).speech is None for variant in VARIANTS), "a network that isn't trained isn't compared"
    assert made(NAMES["no-lookahead"]).spec.lookahead_hops == 0
    assert not any("gru" in n for n, _ in made(NAMES["no-gru"]).named_parameters())
    assert made(NAMES["complex-mask"]).stage1.outs == 2
    assert made(NAMES["no-floor"]).stage1.cin == made(NAMES["baseline"]).stage1.cin - 1
    pooled = made(NAMES["average-pool"]).stage1.pool(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
    assert pooled.item() == 2.0 and made(NAMES["baseline"]).stage1.pool(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)).item() == 3.0
    for name in ("one-stage-equal", "one-stage-gain"):
        net = made(NAMES[name])
        assert not list(net.stage2.parameters())
        assert float(net(torch.randn(1, 9, 64, 2)).stage2.sum()) != 0
    changed = {n: v.weights for n, v in NAMES.items() if v.weights != NAMES["baseline"].weights}
    assert set(changed) == {"no-missing", "no-ratio", "magnitude-only"}


def test_one_stage_costs_what_two_do():
    spec = NAMES["baseline"].spec(Config.load("studio").spec)
    both = sum(macs for _, macs in costs(spec).values())
    assert costs(as_dear_as_both(spec))["stage2"][1] == pytest.approx(both, rel=0.05)


def test_counted_multiply_adds_are_the_formulas():
    spec = tiny.spec()
    both = {name: macs for name, (_, macs) in costs(spec).items()}
    assert both.pop("speech") == both["stage1"], "it runs in its place"
    assert macs_per_frame(Dualstep(spec).eval(), spec, 10) == sum(both.values())


def test_differences_from_the_first_row_are_paired():
    def row(gains):
        return {split: {"kinds": {"hiss": {"gain2": gains[0]}, "hum": {"gain2": gains[1]}}} for split in ablate.SPLITS}

    mean, error = ablate.against(row((3.0, 11.0)), row((1.0, 10.0)), ("hiss", "hum", "clicks"))
    assert mean == pytest.approx(1.5) and error == pytest.approx((1 / 3) ** 0.5 / 2)


class Broken(Dualstep):
    def forward(self, spectrum, stages=2):
        raise RuntimeError("on purpose")


class Blind(Dualstep):
    def mask(self, out, here):
        gain, masked = super().mask(out, here)
        return gain * float("nan"), masked * float("nan")


def test_tables_from_nothing_and_failures_in_them(tmp_path, monkeypatch, capsys):
    cache, out, config = tmp_path / "cache", tmp_path / "out", tmp_path / "tiny.json"
    write_cache(cache)
    config.write_text(json.dumps({"spec": dataclasses.asdict(tiny.spec())}))
    variants = (NAMES["baseline"], Variant("broken", "fails", net=Broken), Variant("blind", "not a number", net=Blind), NAMES["one-stage-equal"])
    monkeypatch.setattr(ablate, "VARIANTS", variants)
    options = ["--cache", str(cache), "--out", str(out), "--config", str(config), "--steps", "3", "--batch", "2", "--clip-seconds", "0.4"]
    options += ["--workers", "1", "--jobs", "2", "--validate-count", "1", "--validate-seconds", "0.6"]
    assert ablate.main(options) == 2
    found = json.loads((out / "ablation.json").read_text())
    assert found["budget"]["steps"] == 3
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["baseline", "broken", "blind", "one-stage-equal"]
    assert "on purpose" in rows["broken"]["status"] and "broken" in (out / "ablation.md").read_text()
    assert rows["blind"]["status"].startswith("not finite: 3 of 3")
    for name in ("baseline", "one-stage-equal"):
        assert rows[name]["status"] == "ok" and rows[name]["steps"] == 3 and rows[name]["skipped"] == 0
        assert rows[name]["audio_hours"] == pytest.approx(3 * 2 * 0.4 / 3600)
        assert set(rows[name]["valid"]["kinds"]) == set(rows[name]["train"]["kinds"]) == set(KINDS)
    capsys.readouterr()
    assert ablate.main([*options, "--only", "basline"]) == 1
    assert "no variant basline; there are: baseline" in capsys.readouterr().err
