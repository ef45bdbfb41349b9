"""Catalogue of the clean material and the recorded noise, and the rule that assigns each recording to a split.

Everything comes from package registries (Debian packages, unpacked and never installed; Python packages) or from a folder
of recorded noise. A `Source` says where its files lie, what they are, who speaks or composed (the `group`, the unit of
splitting) and which licence they carry. Nothing here decodes audio: see `data.py`.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "valid", "test")

#: Seed of the split. Changing it makes every published score incomparable.
SPLIT_SEED = "dualstep-1"

#: Shares of the groups that `split_of` sends to validation and test.
VALID_SHARE = 0.06
TEST_SHARE = 0.08

AUDIO_SUFFIXES = {".ogg", ".opus", ".wav", ".flac", ".aiff", ".aif", ".mp3", ".g722"}


@dataclass(frozen=True)
class Source:
    """One package (or folder) of recordings."""

    #: Name in the index and the manifest.
    name: str
    #: `music`, `speech`, `drums`; recorded noise has `noise-<folder>`.
    kind: str
    #: Debian package that is unpacked, with the archives in it; empty for a folder, a repository and for rendered scores.
    package: str = ""
    #: Git repository and commit instead of a package.
    repository: str = ""
    commit: str = ""
    #: Shell patterns, relative to the unpacked package; a file is taken if one matches.
    include: tuple[str, ...] = ("*",)
    #: Shell patterns on the file name that are left out: held back for testing, noisy on purpose, or not what `kind` says.
    exclude: tuple[str, ...] = ()
    #: SPDX-like licence of the audio.
    licence: str = ""
    #: How the group (speaker, drum kit, track) is read from a path: see `group_of`.
    group_by: str = "file"
    #: Groups whose split is fixed by hand, because there are too few of them for chance. Pattern on the group -> split.
    fixed_splits: dict[str, str] = field(default_factory=dict)
    #: Sample rate of headerless files, Hz.
    raw_rate_hz: int = 16_000


_ASTERISK_LICENCE = "CC-BY-SA-3.0"
_TRAIN = {"*": "train"}


def _noises(name: str, *, everyday: tuple[str, ...] = (), events: tuple[str, ...] = (), without: tuple[str, ...] = (), **origin: str) -> list[Source]:
    """The recorded noises of a package: what goes on by itself (`everyday`), and the rest of `events`, which end; both for training alone.

    Voices, music, and the signals of user interfaces are left out: a voice that says something isn't noise.
    """
    kinds = {"everyday": everyday, "events": events}
    exclude = ("*music*", "*voice*", "*_desc*", "*[Cc]lick*", "*message*", "*lobby*", "under_attack*", "success*", "win.*", "lose.*", "new_*")
    return [Source(f"{name}-{kind}", f"noise-{kind}", include=include, exclude=(*exclude, *without, *(everyday if kind == "events" else ())),
                   fixed_splits=_TRAIN, **origin)
            for kind, include in kinds.items() if include]

#: In the order of building: what is quick comes first, so that a cache is useful after minutes.
SOURCES: tuple[Source, ...] = (
    *(
        Source(
            f"asterisk-{language}",
            "speech",
            package=f"asterisk-core-sounds-{language}-g722",
            include=("*/sounds/*.g722",),
            exclude=("beep*", "silence/*", "ascending-2tone*", "confbridge-*tone*"),
            licence=_ASTERISK_LICENCE,
            group_by="speaker",
            # English and Spanish are one voice (Allison), so they share a group and a split.
            fixed_splits={"Allison": "train", "June": "train", "IvrvoiceRU": "valid", "Carlo": "test"},
        )
        for language in ("en", "es", "fr", "ru", "it")
    ),
    Source(
        "sonic-pi-samples",
        "drums",
        package="sonic-pi-samples",
        include=tuple(f"*/samples/{prefix}_*" for prefix in ("bd", "drum", "sn", "perc", "tabla", "loop")),
        # Held back for testing: loop_amen_full (and its cut loop_amen), loop_tabla. The printer and the industrial loop are noise.
        exclude=("vinyl_*", "loop_amen*", "loop_tabla*", "loop_3d_printer*", "loop_industrial*", "loop_drone*", "perc_sw*"),
        licence="CC0-1.0",
        group_by="prefix",
        fixed_splits={"sn": "valid"},
    ),
    Source(
        "hydrogen-drumkits",
        "drums",
        package="hydrogen-drumkits",
        include=("*/drumkits/*",),
        exclude=("*The Black Pearl 1.0*", "*Gimme A Hand 1.0*"),
        licence="GPL-2.0-or-later, CC-BY-SA-3.0, CC-BY-3.0, CC0-1.0 (per kit)",
        group_by="folder",
        fixed_splits={"ColomboAcousticDrumkit": "test", "Millo_MultiLayered2": "valid"},
    ),
    Source("supertux", "music", package="supertux-data", include=("*/music/*.ogg",), exclude=("leveldone*",),
           licence="GPL-2.0-or-later, CC-BY-SA-3.0"),
    Source("fillets-music", "music", package="fillets-ng-data", include=("*/music/*.ogg",), exclude=("*/sound/*",),
           licence="GPL-2.0-or-later"),
    Source("wesnoth", "music", package="wesnoth-1.16-music", include=("*/music/*.ogg",), exclude=("silence.ogg",),
           licence="GPL-2.0-or-later, CC-BY-SA-4.0"),
    Source("fillets-cs", "speech", package="fillets-ng-data-cs", include=("*/sound/*.ogg",), licence="GPL-2.0-or-later",
           group_by="fillets"),
    Source("hedgewars", "music", package="hedgewars-data", include=("*/Data/Music/*.ogg",), licence="GPL-2.0-only"),
    Source("fillets-nl", "speech", package="fillets-ng-data-nl", include=("*/sound/*.ogg",), licence="GPL-2.0-or-later",
           group_by="fillets", fixed_splits={"nl-v": "valid"}),
    Source("naev", "music", package="naev-data", include=("*/snd/music/*.ogg",), exclude=("void_sensor*",),
           licence="GPL-3.0-or-later, CC-BY-3.0, CC-BY-SA-3.0"),
    Source("klettres", "speech", package="klettres-data", include=("*/klettres/*.ogg",), licence="GPL-2.0-or-later",
           group_by="klettres", fixed_splits={"en_GB": "test", "de": "test", "fr": "valid"}),
    Source("hedgewars-voices", "speech", package="hedgewars-data", include=("*/Sounds/voices/*.ogg",),
           exclude=("*/Robot/*", "*/Singer/*", "Ooff*", "Jump*", "Ow?.ogg"), licence="GFDL-1.3", group_by="folder"),
    Source("festvox-ru", "speech", package="festvox-ru", include=("*/wav/*.wav",), licence="BSD-like (festvox-ru)", group_by="source",
           fixed_splits={"festvox-ru": "train"}),
    Source("unknown-horizons-voices", "speech", package="unknown-horizons", include=("*/voice/*.ogg",),
           licence="CC-BY-SA-3.0, GPL-2.0-or-later", group_by="voice"),
    Source("widelands", "music", package="widelands-data", include=("*/data/music/*.ogg",),
           licence="GPL-2.0-or-later, CC-BY-SA-3.0"),
    Source("singularity", "music", package="singularity-music", licence="CC-BY-SA-3.0"),
    Source("warzone2100", "music", package="warzone2100-music", licence="GPL-2.0-or-later, CC-BY-SA-3.0"),
    Source("colobot", "music", package="colobot-common-sounds", include=("*/music/*.ogg",), licence="GPL-3.0-or-later"),
    # Later than the rest, so all of it is for training: the published test set stays what it is.
    Source("nexuiz", "music", package="nexuiz-music", licence="GPL-2.0-or-later", fixed_splits=_TRAIN),
    Source("unknown-horizons", "music", package="unknown-horizons", include=("*/music/*.ogg",), exclude=("waves.ogg",),
           licence="CC-BY-SA-3.0, GPL-2.0-or-later"),
    *_noises("esc10", licence="CC0-1.0, CC-BY-3.0 (per clip, with its author, in the repository's README)",
             repository="https://github.com/karolpiczak/ESC-10", commit="c74878ef556a00f83b477ee0e3281c30c0e923a7",
             everyday=("002*", "003*", "005*", "007*", "008*", "010*"), events=("001*", "004*", "006*", "009*")),
    *_noises("0ad", package="0ad-data", licence="CC-BY-SA-3.0", everyday=("*/audio/ambient/*",),
             events=tuple(f"*/audio/{name}/*" for name in ("attack", "resource", "actor/fauna", "actor/ship", "actor/gate", "actor/singlesteps"))),
    *_noises("ufoai", package="ufoai-sound", licence="GPL-2.0-or-later, CC-BY-SA-3.0, CC-BY-3.0 (per file)", everyday=("*/sound/ambience/*",),
             events=tuple(f"*/sound/{name}/*" for name in ("doors", "footsteps", "impact", "misc", "weapons"))),
    *_noises("redeclipse", package="redeclipse-data", licence="CC-BY-SA-3.0, CC-BY-3.0, CC0-1.0 (per file)", everyday=("*/sounds/ambience/*",)),
    *_noises("torcs", package="torcs-data", licence="GPL-2.0-or-later", everyday=("*/data/sound/*",)),
    *_noises("megaglest", package="megaglest-data", licence="CC-BY-SA-3.0", everyday=("*/tilesets/*/sounds/*",)),
    *_noises("lincity", package="lincity-ng-data", licence="GPL-2.0-or-later", events=("*/sounds/*",)),
    *_noises("widelands", package="widelands-data", licence="GPL-2.0-or-later", events=("*/data/sound/*",)),
    *_noises("unknown-horizons", package="unknown-horizons", licence="CC-BY-SA-3.0, GPL-2.0-or-later", events=("*/audio/sounds/*",)),
    *_noises("hedgewars", package="hedgewars-data", licence="GFDL-1.3", events=("*/Data/Sounds/*",)),
    *_noises("bucklespring", package="bucklespring-data", licence="GPL-2.0-or-later", events=("*/wav/*",)),
    *_noises("minetest", package="minetest-data", licence="CC-BY-SA-3.0, CC-BY-3.0, CC0-1.0 (per file)", events=("*/sounds/*",)),
    *_noises("homedecor", package="minetest-mod-homedecor", licence="CC-BY-SA-4.0", events=("*/sounds/*",)),
    *_noises("scorched3d", package="scorched3d-data", licence="GPL-2.0-or-later",
             everyday=("*rain.wav", "*oceanwaves.wav", "*apache_1.wav", "*f1[68]_?.wav", "*jet.wav"),
             events=("*bats?.wav", "*bird*.wav", "*gull?.wav", "*thunder*.wav", "*wolf.wav", "*frogs.wav", "*bees*.wav", "*camera.wav")),
    *_noises("searchandrescue", package="searchandrescue-data", licence="GPL-2.0-or-later", everyday=("*_inside*.wav", "*_outside*.wav"),
             events=tuple(f"*/{name}*.wav" for name in ("crash", "door", "engine_s", "gear", "helicopter_engine_s", "jet_engine_s", "land", "splash", "thud"))),
    *_noises("etw", package="etw-data", licence="GPL-2.0-or-later", everyday=("*/crowd/*",)),
    *_noises("scratch", package="scratch", licence="CC-BY-SA-3.0", events=tuple(f"*/Sounds/{name}/*" for name in ("Animal", "Effects", "Human"))),
    *_noises("opensfx", licence="CC-BY-SA-3.0", repository="https://github.com/OpenTTD/OpenSFX",
             commit="71892caa2db3f87e7c16aabf26f32c4c7ae7dca2", events=("src/wav/*",)),
    *_noises("openrct2", licence="CC-BY-4.0", repository="https://github.com/OpenRCT2/OpenSoundEffects", commit="0918c4828d47d7bf6c8ce5ff10523651f7e3e60d",
             events=("*/samples/*", "Unused/*")),
    *_noises("tuxpaint", package="tuxpaint-stamps-default", licence="GPL-2.0-or-later",
             events=tuple(f"*/stamps/{name}/*" for name in ("animals", "household", "naturalforces", "vehicles"))),
    *_noises("wesnoth", package="wesnoth-1.16-data", licence="GPL-2.0-or-later, CC-BY-SA-4.0", events=("*/core/sounds/*",)),
    *_noises("flare", package="flare-game", licence="CC-BY-SA-3.0", everyday=("*/environment/*_loop.ogg",),
             events=tuple(f"*/soundfx/{name}/*" for name in ("enemies", "inventory", "powers", "steps"))),
    *_noises("btanks", package="btanks-data", licence="GPL-2.0-or-later", everyday=("*/ambient/c*.ogg", "*/ambient/forest.ogg", "*/ambient/swamp.ogg"),
             events=("*/data/sounds/*.ogg",)),
    *_noises("warmux", package="warmux-data", licence="GPL-2.0-or-later", events=("*/default/misc/*", "*/default/weapons/*")),
    *_noises("supertux", package="supertux-data", licence="GPL-2.0-or-later, CC-BY-SA-3.0", events=("*/supertux2/sounds/*",)),
    *_noises("colobot", package="colobot-common-sounds", licence="GPL-3.0-or-later", events=("*/colobot/sounds/*",)),
    *_noises("micropolis", package="micropolis-data", licence="GPL-3.0-or-later", events=("*/sounds/??*.wav",)),
    *_noises("simutrans", package="simutrans-pak64", licence="Artistic-1.0", events=("*/sound/*",)),
    *_noises("bzflag", package="bzflag-data", licence="LGPL-2.1-only, MPL-2.0", events=("*.wav",)),
    *_noises("freeciv", package="freeciv-data", licence="GPL-2.0-or-later", events=("*/stdsounds/*",)),
    *_noises("neverball", package="neverball-common", licence="GPL-2.0-or-later", events=("*/snd/*",)),
    *_noises("tuxracer", package="extremetuxracer-data", licence="GPL-2.0-or-later", everyday=("*_slide.wav",), events=("*/tree_hit.wav",)),
    # Of moodist and Tumult what a folder of recorded noise made from them lacks.
    *_noises("moodist", licence="CC0-1.0, Pixabay Content License (not marked per file)",
             repository="https://github.com/remvze/moodist", commit="983f7412e8cd054e76d156977c563da2028e4428",
             everyday=tuple(f"*/sounds/{name}.mp3" for name in (
                 "animals/beehive", "animals/birds", "animals/crickets", "animals/crows", "animals/frog", "animals/seagulls", "nature/campfire",
                 "nature/jungle", "nature/walk-in-snow", "places/night-village", "places/underwater", "rain/rain-on-leaves", "rain/rain-on-tent",
                 "things/bubbles", "transport/rowing-boat", "transport/sailboat", "transport/submarine")),
             events=tuple(f"*/sounds/{name}.mp3" for name in (
                 "alarm", "animals/cat-purring", "animals/cows", "animals/horse-gallop", "animals/owl", "animals/sheep", "animals/wolf",
                 "animals/woodpecker", "things/morse-code", "urban/ambulance-siren"))),
    *_noises("tumult", licence="CC0-1.0", repository="https://github.com/consint/Tumult", commit="723c05ffbb55323f3ee2fb7a75228fac7c776ef2",
             everyday=tuple(f"Samples/{name}*.wav" for name in (
                 "machine/machine8", "machine/machine11", "world/city2", "world/city3", "world/fire4", "world/rain5", "world/waterfall2"))),
    Source("tumult-disc", "noise-disc", licence="CC0-1.0", repository="https://github.com/consint/Tumult",
           commit="723c05ffbb55323f3ee2fb7a75228fac7c776ef2", include=("Samples/vinyl/vinyl[45]*.wav",), fixed_splits={"vinyl4*": "valid", "*": "train"}),
    # Its distant thunder is a recording of the published test set.
    *_noises("noice", licence="CC0-1.0, CC-BY-3.0, CC-BY-4.0 (per file, with its author, in the repository's Sound.kt)",
             repository="https://github.com/trynoice/android-app", commit="26bb5f137f8afa4465a365e4a167b02ab3b2baa1",
             everyday=tuple(f"*/assets/{name}.mp3" for name in (
                 "airplane_inflight", "birds_?", "bonfire_?", "coffee_shop_?", "creaking_ship_?", "crickets", "electric_car_?",
                 "*_rain", "morning_in_a_village", "moving_train", "night_?", "office_?", "public_library_?", "purring_cat", "rolling_thunder",
                 "seaside", "soft_wind_?", "walking_through_the_snow", "water_*_?", "wind_in_palm_trees_?")),
             events=tuple(f"*/assets/{name}.mp3" for name in (
                 "airplane_seatbelt_beeps", "howling_wolf", "human_heartbeat", "screeching_seagulls", "thunder_crack", "train_horn"))),
    *_noises("cataclysm", licence="CC-BY-SA-4.0, CC-BY-3.0, CC-BY-4.0, CC0-1.0 (per file, with its author, in its folder's credits.md)",
             repository="https://github.com/Fris0uman/CDDA-Soundpacks", commit="88586bb600eae4b053a8928bddbd5371d0b1ecc6",
             everyday=tuple(f"*/CC-Sounds/{name}/*" for name in ("engine_working_*", "environment", "fire", "humming")),
             events=tuple(f"*/CC-Sounds/{name}/*" for name in (
                 "*_door", "engine_st*", "explosion", "fire_gun", "m*_bite", "melee_*", "plmove", "reload", "smash*", "tool", "vehicle*"))),
    *_noises("voxelibre", licence="GPL-3.0-or-later, CC-BY-SA-3.0, CC-BY-SA-4.0, CC-BY-4.0, CC0-1.0 (per mod)",
             repository="https://github.com/VoxeLibre/VoxeLibre", commit="26455efb810bfba20a5937bdd9b07cf48cc63825",
             everyday=("*/vl_env_sounds/*", "*/weather_rain.ogg"),
             events=tuple(f"*/{name}/sounds/*" for name in (
                 "mcl_sounds", "mcl_dripping", "mcl_item_entity", "mobs_mc", "lightning", "mesecons_[bp]*", "mcl_amethyst", "mcl_armor", "mcl_ba*",
                 "mcl_bows", "mcl_chests", "mcl_core", "mcl_doors", "mcl*_fences", "mcl_fi*", "mcl_mud", "mcl_potions", "mcl_t*", "vl_fireworks",
                 "mcl_criticals", "mcl_hunger"))),
    *_noises("freedoom", licence="BSD-3-Clause", repository="https://github.com/freedoom/freedoom",
             commit="d14dbbee3b6fbfb2c11cdb65eb61216e86d4ee85", events=("sounds/*",)),
    *_noises("nexuiz", package="nexuiz-data", licence="GPL-2.0-or-later", everyday=("*/sound/ambient/*", "*/sound/weather/*"),
             events=tuple(f"*/sound/{name}/*" for name in ("desertfactory", "plats", "porto", "turrets", "weapons"))),
    *_noises("freedroidrpg", package="freedroidrpg-data", licence="GPL-2.0-or-later",
             events=("*/sound/effects/*.ogg", "*/sound/effects/bullets/*", "*/sound/effects/item_sounds/*")),
    *_noises("endless-sky", package="endless-sky-data", licence="GPL-3.0-or-later, CC-BY-SA-4.0, CC-BY-SA-3.0, public domain (per file)",
             everyday=("*/sounds/ambient/*",), events=("*/endless-sky/sounds/*",)),
    *_noises("ambienzzz", licence="CC0-1.0, CC-BY-3.0 (per file, with its author, in the repository's README)",
             repository="https://github.com/coldino/AmbienZZZzz", commit="7dfdbd9b7cab71c355f069f47cba3d85ad8ee2f0", everyday=("static/sounds/*",)),
    *_noises("openclonk", licence="CC-BY-3.0, CC0-1.0 (per file, in Sound.ocg/authors.txt)",
             repository="https://github.com/openclonk/openclonk", commit="db975b4a887883f4413d1ce3181f303d83ee0ab5",
             everyday=tuple(f"*/Sound.ocg/*/{name}Loop*" for name in ("Fan", "Furnace.ocg/", "Birds", "Wind", "Propeller")),
             events=("*/Sound.ocg/*",), without=("*/Sound.ocg/UI.ocg/*", "*/Skin.ocg/*", "*anfare*", "DivingLoop?.ogg")),
    # The rest of that repository is Blanket's, which is in the tests.
    *_noises("gui-project", licence="CC-BY-4.0, CC-BY-3.0, CC0-1.0 (per file, in sounds/sound_licensing_blanket.md)",
             repository="https://github.com/DrunkenToast/gui-project", commit="52d6f58b32c44ef118428c1ef801785a8981fea4",
             everyday=tuple(f"sounds/{name}.ogg" for name in ("construction", "farm", "leaves", "owls"))),
    *_noises("max-audio", licence="CC0-1.0, CC-BY (per file, in samples/README.md)",
             repository="https://github.com/IBM/MAX-Audio-Classifier", commit="3c308abcb04e1523e668ebaf76ca55898cd97d28",
             everyday=tuple(f"samples/{name}.wav" for name in ("applause", "birds1", "car_engine", "crowd_cheering", "rain", "train")),
             events=tuple(f"samples/{name}.wav" for name in ("typing", "snoring", "thunder"))),
    *_noises("mod-sounds", licence="CC0-1.0, CC-BY-3.0, CC-BY-2.0, CC-BY-SA, OGA-BY-3.0 (per file, with its author, in the repository's sources.md)",
             repository="https://github.com/AntumMT/mod-sounds", commit="a002ea8e3b254081101ebe5372bdfe4e473dce48",
             everyday=tuple(f"*/sounds_{name}.ogg" for name in (
                 "airplane_prop", "bees", "bumble_bee_0?", "car_motor", "cicada_0?", "compressor_motor_0?", "cricket", "fire_crackle", "grasshopper",
                 "helicopter", "jet_ambience", "motorbike_idle", "rain_*", "vehicle_motor_idle", "wind")),
             events=("sounds/*",), without=tuple(f"sounds_{name}*" for name in (
                 "church_bells", "doorbell", "ghost", "laser", "mermaid", "piano", "plasma", "robot", "undead", "zombie"))),
)

#: Recorded noise with too few files for chance: file name pattern -> split; the first match counts.
NOISE_FIXED_SPLITS: dict[str, str] = {
    "vinyl2_*": "valid", "vinyl3_*": "test",
    "hum1_*": "valid", "hum4_*": "test",
    "static1_*": "valid", "static3_*": "test",
    "machine1_*": "valid", "machine10_*": "test", "machine7_*": "test",
    "rain1_*": "valid", "crowd1_*": "test",
    "vinyl*": "train", "hum*": "train", "static*": "train", "machine*": "train",
}
_NOISE_LICENCES = {
    "disc": "CC0-1.0; vinyl-effect: CC0-1.0 or Pixabay Content License", "everyday": "CC0-1.0, CC-BY, CC-BY-SA, Pixabay Content License",
}


def split_of(group: str, fixed: dict[str, str] | None = None) -> str:
    """The split of a group: fixed by hand, else by a hash of its name, so that it never depends on what else is in the cache."""
    for pattern, split in (fixed or {}).items():
        if fnmatch.fnmatchcase(group.split("/")[-1], pattern):
            return split
    draw = int.from_bytes(hashlib.sha256(f"{SPLIT_SEED}:{group}".encode()).digest()[:8], "big") / 2**64
    if draw < VALID_SHARE:
        return "valid"
    return "test" if draw < VALID_SHARE + TEST_SHARE else "train"


def group_of(source: Source, path: str) -> str:
    """The recording, speaker or kit that a file belongs to, as `<source>/<name>` (speakers that several sources share: the name)."""
    parts, stem = Path(path).parts, Path(path).stem
    if source.group_by == "folder":
        return f"{source.name}/{parts[-2]}"
    if source.group_by == "speaker":  # .../sounds/en_US_f_Allison/digits/1.g722
        voice = next((part for part in parts if re.match(r"[a-z]{2}_[A-Z]{2}_[fm]_", part)), "unknown")
        return "asterisk/" + voice.split("_")[-1]
    if source.group_by == "source":
        return f"{source.name}/{source.name}"
    if source.group_by == "voice":  # .../voice/<language>/0/new_world/1.ogg
        return f"{source.name}/{parts[parts.index('voice') + 1]}"
    if source.group_by == "prefix":
        return f"{source.name}/{stem.split('_')[0]}"
    if source.group_by == "klettres":  # .../klettres/<language>/{alpha,syllab}/a-1.ogg
        return f"{source.name}/{parts[-3]}"
    if source.group_by == "fillets":
        # The file names carry the fish that speaks: "-m-" the small one, "-v-" the big one; the rest are minor parts.
        language = parts[-2]
        voice = re.search(r"(?:^|-)(m|v)-", stem)
        return f"{source.name}/{language}-{voice.group(1) if voice else 'others'}"
    return f"{source.name}/{stem}"


def fetch(source: Source, work: Path) -> Path:
    """Downloads and unpacks a source's package or repository under `work`, unless it is there already. Returns the unpacked folder.

    Raises:
        RuntimeError: it can't be fetched; the message quotes the tool.
    """
    name = source.package or source.repository.rstrip("/").split("/")[-1]
    target = work / "x" / name
    done = work / "x" / f".{name}.done"
    if done.exists():
        return target
    if source.repository:
        target.mkdir(parents=True, exist_ok=True)
        _tool(["git", "init", "--quiet"], cwd=target)
        _tool(["git", "fetch", "--quiet", "--depth", "1", source.repository, source.commit], cwd=target)
        _tool(["git", "checkout", "--quiet", "--force", "FETCH_HEAD"], cwd=target)
        done.touch()
        return target
    debs = work / "deb"
    debs.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    found = sorted(debs.glob(f"{source.package}_*.deb"))
    if not found:
        _tool(["apt-get", "download", source.package], cwd=debs)
        found = sorted(debs.glob(f"{source.package}_*.deb"))
    _tool(["dpkg-deb", "-x", str(found[-1]), str(target)], cwd=debs)
    for archive in [path for path in sorted(target.rglob("*")) if path.suffix in (".zip", ".pk3")]:
        _unzip(archive)
    done.touch()
    return target


def _unzip(archive: Path) -> None:
    """Unpacks an archive's audio into a folder of its name, in its place: games keep their sounds in archives of gigabytes."""
    with zipfile.ZipFile(archive) as content:
        wanted = [name for name in content.namelist() if Path(name).suffix.lower() in AUDIO_SUFFIXES]
        content.extractall(archive.with_suffix(""), wanted)
    archive.unlink()


def _tool(command: list[str], cwd: Path) -> None:
    """Runs a command and turns its failure into a message that says what to do."""
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise RuntimeError(f"`{command[0]}` isn't installed; the data comes from Debian packages, so run this on Debian or Ubuntu") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"`{' '.join(command)}` failed: {error.stderr.strip()[-400:]}; check the network and `apt-get update`") from error


def files_of(source: Source, folder: Path) -> list[str]:
    """Paths relative to `folder` of the files that a source takes, sorted."""
    taken = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
            continue
        if not any(fnmatch.fnmatchcase(relative, pattern) for pattern in source.include):
            continue
        if any(fnmatch.fnmatchcase(relative, f"*/{pattern}") or fnmatch.fnmatchcase(relative, pattern) for pattern in source.exclude):
            continue
        taken.append(relative)
    return taken


def noise_sources(folder: Path) -> list[Source]:
    """One source per sub-folder of recorded noise (`disc`, `everyday`, `hum`, ...).

    Raises:
        FileNotFoundError: the folder has no sub-folder with audio.
    """
    names = sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
    if not names:
        raise FileNotFoundError(
            f"no sub-folders in {folder}; expected one per kind of noise, such as disc/ and everyday/: put your own recordings there, or leave --noise out"
        )
    return [
        Source(name=f"noise-{name}", kind=f"noise-{name}", include=(f"{name}/*",), fixed_splits=NOISE_FIXED_SPLITS,
               licence=_NOISE_LICENCES.get(name, "CC0-1.0"))
        for name in names
    ]
