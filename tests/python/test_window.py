"""The editor's window, in a host that plays: it paints, it comes and goes, and the audio doesn't notice."""

import ctypes
import os
import time

import numpy as np
import pytest

SECONDS = 10

LIBC = ctypes.CDLL("libc.so.6")
# One arena (M_ARENA_MAX is -8) for all threads: each window has new ones, and what is free in many arenas would look like a leak.
LIBC.mallopt(-8, 1)


@pytest.fixture(scope="module")
def screen():
    from window import Screen

    try:
        screen = Screen()
    except FileNotFoundError as missing:
        pytest.skip(f"the editor's window needs a screen: {missing}")
    yield screen
    screen.close()


@pytest.fixture
def player(screen, bundles, tmp_path, monkeypatch):
    """Plays half-second tones in noise. Presets and settings are kept apart from the user's."""
    from window import RATE_HZ, Player

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    frames = np.arange(SECONDS * RATE_HZ)
    tone = 0.3 * np.sin(2 * np.pi * 440 * frames / RATE_HZ) * (frames // (RATE_HZ // 2) % 2)
    noise = 0.02 * np.random.default_rng(1).standard_normal((2, len(frames)))
    player = Player(bundles / "Dualstep.clap", "org.dualstep.studio", tone + noise)
    player.play()
    yield player
    player.end()


def colours(width, height):
    from window import picture

    return len(picture(width, height).getcolors(1 << 24))


def resident_mib():
    """Memory in use. What the allocator keeps of freed memory is given back first."""
    LIBC.malloc_trim(0)
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def threads():
    return len(os.listdir("/proc/self/task"))


def test_the_window_paints_at_every_scale(player):
    for scale in [1.0, 2.0]:
        player.open(scale)
        player.wait(3)
        width, height = player.size()
        assert abs(width - 940 * scale) <= 2 and abs(height - 660 * scale) <= 2, f"{width} x {height} at {scale}"
        assert colours(width, height) > 500, f"nothing is painted at {scale}"
        player.close()
        # The next window has its own screen.
        player.gui.create(player.pointer, b"x11", False)
        player.gui.set_scale(player.pointer, 1.0)
        player.gui.destroy(player.pointer)


def test_the_window_keeps_its_size(player):
    player.open()
    player.wait(0.5)
    assert player.resize(1100, 700) == (1100, 700)
    player.wait(0.5)
    player.close()
    assert player.size() == (1100, 700)
    player.open()
    player.wait(1)
    assert player.resize(10, 10) == (820, 540), "the smallest size in which all can be used"
    player.wait(0.5)


def test_a_hundred_windows_leak_nothing(player):
    """Opened, resized, hidden and closed while audio plays."""
    seen = []
    for round_ in range(100):
        player.open()
        player.wait(0.08)
        player.resize(850 + 30 * (round_ % 10), 550 + 20 * (round_ % 10))
        player.wait(0.04)
        if round_ % 3 == 0:
            assert player.gui.hide(player.pointer)
            assert player.gui.show(player.pointer)
        player.close()
        if round_ in (29, 99):
            player.wait(1.0)
            seen.append((resident_mib(), threads()))
    (early_mib, early_threads), (late_mib, late_threads) = seen
    assert late_threads <= early_threads + 2, f"{early_threads} threads after 30 windows, {late_threads} after 100"
    # The textures of 70 windows would be 150 MiB, a thread each 70 threads.
    print(f"{early_mib:.0f} MiB after 30 windows, {late_mib:.0f} MiB after 100")
    assert late_mib - early_mib < 40, f"{early_mib:.0f} MiB after 30 windows, {late_mib:.0f} MiB after 100"


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def test_a_hidden_window_rests(player):
    """What the editor costs open, hidden and closed; asserted is only what no busy machine can turn around."""
    player.open()
    player.wait(1)
    costs = {}
    for state in ["open", "hidden", "closed"]:
        if state == "hidden":
            assert player.gui.hide(player.pointer)
        if state == "closed":
            player.close()
        player.wait(1)
        begin, cpu = time.monotonic(), cpu_seconds()
        player.wait(4)
        costs[state] = 100 * (cpu_seconds() - cpu) / (time.monotonic() - begin)
    print({state: f"{cost:.1f} % of a core" for state, cost in costs.items()})
    assert costs["open"] > costs["hidden"] + 0.3 * (costs["open"] - costs["closed"]), "a hidden window costs nearly as much as an open one"
