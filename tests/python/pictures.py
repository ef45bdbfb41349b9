"""Makes the manual's pictures of the panel: `python pictures.py Dualstep.clap RECORDING FOLDER [--all]`. `cargo xtask pictures` runs it."""

import json
import os
import pathlib
import sys
import tempfile

from pedalboard.io import AudioFile
from window import RATE_HZ, Player, Screen, picture

# Music, then a pause with nothing but noise, then speech: all twelve seconds of the spectrogram have something to show.
SECONDS = 18.4
STUDIO, LIVE = "org.dualstep.studio", "org.dualstep.live"
# Name, plugin, light, pixels per point. At two pixels per point a picture has 0.5 MB: those are for looking, not for keeping.
KEPT = [
    ("panel", STUDIO, False, 1.0),
    ("panel-light", STUDIO, True, 1.0),
    ("panel-live", LIVE, False, 1.0),
]
ALL = [(f"{'light' if light else 'dark'}-{scale:.0f}x", STUDIO, light, scale) for light in [False, True] for scale in [1.0, 2.0]]


def main(bundle, recording, folder, *options):
    with AudioFile(recording).resampled_to(RATE_HZ) as file:
        audio = file.read(file.frames)
    screen = Screen()
    with tempfile.TemporaryDirectory() as data:
        # The pictures don't show the user's own presets and settings.
        os.environ["XDG_DATA_HOME"] = data
        settings = pathlib.Path(data, "dualstep", "settings.json")
        settings.parent.mkdir()
        for name, plugin, light, scale in ALL if "--all" in options else KEPT:
            settings.write_text(json.dumps({"light": light}))
            player = Player(bundle, plugin, audio)
            player.play()
            player.open(scale)
            player.wait(SECONDS)
            path = pathlib.Path(folder, f"{name}.png")
            # 255 colours: a spectrogram in full colour takes three times as much.
            picture(*player.size()).quantize(255).save(path, optimize=True)
            player.end()
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB, the host was late {player.late} times")
    # A plugin's connection to the screen may outlive its window, and Xlib ends a process whose screen goes: that isn't a failure.
    sys.stdout.flush()
    screen.server.terminate()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
