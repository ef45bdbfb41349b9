"""Writes what a VST3 host keeps in its session: `save_state.py BUNDLE PLUGIN_NAME VALUES_JSON OUT`.

VALUES_JSON maps parameter ids to values on the host's scale, in the plugin's order. How tests/data/states is added to: see the README there.
"""

import json
import pathlib
import sys

import numpy as np
import pedalboard

bundle, name, values, out = sys.argv[1:]
plugin = pedalboard.load_plugin(bundle, plugin_name=name)
for parameter, value in zip(plugin.parameters.values(), json.loads(pathlib.Path(values).read_text()).values(), strict=True):
    parameter.raw_value = value
# The plugin takes over values when it processes.
plugin.process(np.zeros((2, 4096), np.float32), 48_000)
pathlib.Path(out).write_bytes(plugin.raw_state)
