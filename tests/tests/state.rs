//! Sessions: what is saved comes back, and what is broken is refused whole.

use dualstep_tests::bundle::workspace;
use dualstep_tests::session::{HEADER, numbers, parse, wrap};
use dualstep_tests::{Bundle, IDS, LIVE, PLUGINS, Plugin, STUDIO};
use serde_json::json;
use std::collections::BTreeMap;

/// An instance with no parameter at its initial value.
fn moved(bundle: &Bundle, id: &str) -> Plugin {
    let mut plugin = Plugin::new(bundle, id);
    for (index, parameter) in IDS.iter().enumerate() {
        let value = match *parameter {
            "removed" | "bypass" | "speech" => 1.0,
            "link" | "declip" | "dropouts" => 0.0,
            "hum" => 2.0,
            _ => 0.1 + 0.07 * index as f64,
        };
        plugin.set_value(parameter, value);
    }
    plugin
}

/// Values of all parameters.
fn values(plugin: &mut Plugin) -> Vec<f64> {
    IDS.iter().map(|id| plugin.value(id)).collect()
}

#[test]
fn the_parameters_are_the_ones_sessions_know() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        let parameters = plugin.parameters();
        assert_eq!(parameters.len(), IDS.len(), "{id}: {parameters:#?}");
        for (parameter, id) in parameters.iter().zip(IDS) {
            let number = id.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) & !(1 << 31);
            assert_eq!(parameter.number, number, "{} should be {id}", parameter.name);
            assert!(parameter.automatable, "{id} can't be automated");
            assert_eq!(parameter.bypass, id == "bypass", "{id}: the host's bypass");
            let greatest = if id == "hum" { 3.0 } else { 1.0 };
            assert_eq!((parameter.least, parameter.greatest), (0.0, greatest), "{id}");
        }
    }
}

#[test]
fn texts_read_back() {
    let bundle = Bundle::release();
    let mut plugin = Plugin::new(&bundle, STUDIO);
    for id in IDS {
        for step in 0..=20 {
            let step = f64::from(step) / 20.0;
            let value = match id {
                "removed" | "link" | "bypass" | "declip" | "speech" | "dropouts" => step.round(),
                "hum" => (3.0 * step).round(),
                _ => step,
            };
            let text = plugin.text(id, value);
            let read = plugin.read(id, &text);
            let close = read.is_some_and(|read| (read - value).abs() < 0.006);
            assert!(close, "{id} writes {text:?} for {value} and reads it as {read:?}");
        }
        assert_eq!(plugin.read(id, "quux"), None, "{id} reads nonsense");
    }
    for (id, text) in [
        ("declick", "0 %"),
        ("stage1", "100 %"),
        ("stage2", "50 %"),
        ("limit", "none"),
        ("limit", "60 dB"),
        ("mix", "25 %"),
        ("output", "-24 dB"),
        ("output", "24 dB"),
        ("low_cut", "off"),
        ("low_cut", "80 Hz"),
        ("hum", "50 Hz"),
        ("hum", "auto"),
        ("tilt", "-6 dB"),
        ("comp", "100 %"),
    ] {
        assert!(plugin.read(id, text).is_some(), "{id} doesn't read {text:?}");
    }
    let half = plugin.read("stage2", "50 %").expect("a strength");
    assert!((half - 0.5).abs() < 1e-6, "50 % is {half}");
}

#[test]
fn a_state_comes_back_byte_for_byte() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut first = moved(&bundle, id);
        let saved = first.save();
        let mut second = Plugin::new(&bundle, id);
        assert_ne!(second.save(), saved, "{id}: nothing was moved");
        second.load(&saved).expect("the saved state");
        assert_eq!(second.save(), saved, "{id}");
        assert_eq!(values(&mut second), values(&mut first), "{id}");
        second.activate(48_000.0, 512);
        assert_eq!(second.save(), saved, "{id}, active");
        second.load(&saved).expect("the saved state, while active");
        assert_eq!(second.save(), saved, "{id}, loaded while active");
        second.deactivate();
        assert_eq!(second.save(), saved, "{id}, inactive again");
    }
}

#[test]
fn a_state_says_which_version_wrote_it() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let content = parse(&Plugin::new(&bundle, id).save());
        let version = content["version"].as_str().expect("a version");
        assert!(version.split('.').count() == 3, "{id}: version {version:?}");
        let parameters = content["params"].as_object().expect("parameters");
        let mut ids = IDS;
        ids.sort_unstable();
        assert_eq!(parameters.keys().map(String::as_str).collect::<Vec<_>>(), ids, "{id}");
    }
}

#[test]
fn broken_states_are_refused_and_change_nothing() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = moved(&bundle, id);
        let saved = plugin.save();
        let other = Plugin::new(&bundle, id).save();
        let mut cases: Vec<(String, Vec<u8>)> = vec![
            ("nothing".into(), vec![]),
            ("half a length".into(), saved[..4].to_vec()),
            ("only a length".into(), saved[..HEADER].to_vec()),
            ("zeros".into(), vec![0; 4096]),
            ("0xff".into(), vec![0xff; 4096]),
            ("an empty content".into(), wrap(b"")),
            ("null".into(), wrap(b"null")),
            ("a number".into(), wrap(b"17")),
            ("an empty object".into(), wrap(b"{}")),
            ("an empty list".into(), wrap(b"[]")),
            ("text".into(), wrap(b"this is no session")),
            ("not UTF-8".into(), wrap(&[b'"', 0xc3, 0x28, b'"'])),
            (
                "parameters of the wrong type".into(),
                wrap(br#"{"version":"0.1.0","params":[1,2],"fields":{}}"#),
            ),
            ("something after the end".into(), wrap(&[&other[HEADER..], b"}"].concat())),
        ];
        for cut in [HEADER + 1, saved.len() / 2, saved.len() - 1] {
            cases.push((format!("cut at {cut}"), other[..cut.min(other.len() - 1)].to_vec()));
        }
        for (what, bytes) in cases {
            assert!(plugin.load(&bytes).is_err(), "{id} takes {what} for a state");
            assert_eq!(plugin.save(), saved, "{id}: {what} changed something");
        }
        plugin.load(&other).expect("a good state after the broken ones");
        assert_eq!(plugin.save(), other, "{id}");
    }
}

#[test]
fn values_out_of_range_do_no_harm() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let values = [
            r#"{"f32":1e30}"#,
            r#"{"f32":-1e30}"#,
            r#"{"f32":1e39}"#,
            r#"{"f32":1e-45}"#,
            r#"{"bool":true}"#,
            r#"{"string":"quux"}"#,
            "17",
        ];
        for value in values {
            let mut content = parse(&Plugin::new(&bundle, id).save());
            content["params"]["stage1"] = serde_json::from_str(value).expect("JSON");
            let mut plugin = Plugin::new(&bundle, id);
            // Refused or brought into range, either will do.
            let _ = plugin.load(&wrap(content.to_string().as_bytes()));
            let stage1 = numbers(&plugin.save())["stage1"];
            assert!((0.0..=100.0).contains(&stage1), "{id}: {value} became {stage1}");
        }
    }
}

#[test]
fn what_is_no_number_sets_nothing() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = moved(&bundle, id);
        let saved = plugin.save();
        for (parameter, value) in IDS
            .iter()
            .flat_map(|id| [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| (id, value)))
        {
            plugin.set_value(parameter, value);
            assert_eq!(plugin.save(), saved, "{id}: {parameter} = {value} changed something");
        }
    }
}

#[test]
fn values_of_the_wrong_type_are_refused_and_change_nothing() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        for (parameter, value) in [
            ("stage1", json!({"bool": true})),
            ("mix", json!({"string": "quux"})),
            ("link", json!({"f32": 1.0})),
            ("hum", json!({"string": "50 Hz"})),
        ] {
            let mut content = parse(&Plugin::new(&bundle, id).save());
            content["params"][parameter] = value;
            let mut plugin = moved(&bundle, id);
            let saved = plugin.save();
            let loaded = plugin.load(&wrap(content.to_string().as_bytes()));
            assert!(loaded.is_err(), "{id}: a {parameter} of the wrong type was taken");
            assert_eq!(plugin.save(), saved, "{id}: a {parameter} of the wrong type changed something");
        }
    }
}

#[test]
fn states_of_later_versions_load() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = moved(&bundle, id);
        let saved = plugin.save();
        let expected = values(&mut plugin);
        let mut content = parse(&saved);
        content["version"] = json!("99.0.0");
        content["params"]["humidity"] = json!({"f32": 0.25});
        content["params"]["wow"] = json!({"string": "none"});
        content["fields"]["turntable"] = json!("\"belt\"");
        content["later"] = json!({"anything": [1, null, "x"]});
        let mut other = Plugin::new(&bundle, id);
        other
            .load(&wrap(content.to_string().as_bytes()))
            .expect("a state with unknown fields");
        assert_eq!(values(&mut other), expected, "{id}");
    }
}

#[test]
fn states_of_earlier_versions_load() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = moved(&bundle, id);
        let mut content = parse(&plugin.save());
        content["version"] = json!("0.0.1");
        content["params"].as_object_mut().expect("parameters").remove("link");
        let mut other = Plugin::new(&bundle, id);
        let link = other.value("link");
        other
            .load(&wrap(content.to_string().as_bytes()))
            .expect("a state without a parameter");
        assert_eq!(
            other.value("link").to_bits(),
            link.to_bits(),
            "{id}: the missing parameter keeps its value"
        );
        assert_eq!(other.value("mix").to_bits(), plugin.value("mix").to_bits(), "{id}");
    }
}

#[test]
fn a_state_of_one_plugin_opens_in_the_other() {
    let bundle = Bundle::release();
    let saved = moved(&bundle, PLUGINS[0]).save();
    let mut other = Plugin::new(&bundle, PLUGINS[1]);
    other.load(&saved).expect("the same parameters");
    let expected = values(&mut moved(&bundle, PLUGINS[0]));
    assert_eq!(values(&mut other), expected);
}

#[test]
fn states_of_every_version_load_for_ever() {
    let bundle = Bundle::release();
    let folder = workspace().join("tests/data/states");
    let mut loaded = 0;
    for version in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let version = version.expect("a folder's entry").path();
        if !version.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(version.join("texts.json")).expect("texts.json");
        let texts: BTreeMap<String, String> = serde_json::from_str(&text).expect("texts by parameter id");
        for (name, id) in [("studio", STUDIO), ("live", LIVE)] {
            let file = version.join(name).with_extension("clap");
            let what = file.display();
            let saved = std::fs::read(&file).unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut plugin = Plugin::new(&bundle, id);
            let initial = texts_of(&mut plugin);
            plugin.load(&saved).unwrap_or_else(|error| panic!("{what} doesn't load: {error}"));
            for (parameter, found) in texts_of(&mut plugin) {
                // What that version didn't have yet stays as in a new instance: off, where it would change the sound. Repair of clipping and of dropouts is on in a new one.
                let missing = if ["declip", "dropouts"].contains(&parameter) {
                    "Off"
                } else {
                    &initial[parameter]
                };
                let expected = texts.get(parameter).map_or(missing, String::as_str);
                assert_eq!(found, expected, "{what}: {parameter}");
            }
            for parameter in texts.keys() {
                assert!(IDS.contains(&parameter.as_str()), "{what}: {parameter} is gone");
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "no states in {}", folder.display());
}

/// All values as the plugin writes them, by parameter id.
fn texts_of(plugin: &mut Plugin) -> BTreeMap<&'static str, String> {
    IDS.into_iter()
        .map(|id| {
            let value = plugin.value(id);
            (id, plugin.text(id, value))
        })
        .collect()
}

#[test]
fn a_modulated_parameter_keeps_its_own_value() {
    let bundle = Bundle::release();
    for id in PLUGINS {
        let mut plugin = Plugin::new(&bundle, id);
        let value = |plugin: &mut Plugin| (1e4 * plugin.value("mix")).round() / 1e4;
        plugin.set_value("mix", 0.75);
        let own = plugin.save();
        // To 1.25, which is heard as 1, as are all values from here on.
        plugin.modulate("mix", 0.5);
        assert_eq!(value(&mut plugin), 0.75, "{id}: the modulated value is told");
        plugin.set_value("mix", 0.5);
        assert_eq!(value(&mut plugin), 0.5, "{id}: a value set while modulated is lost");
        plugin.load(&own).expect("its own state");
        assert_eq!(value(&mut plugin), 0.75, "{id}: a value loaded while modulated is lost");
        assert_eq!(plugin.save(), own, "{id}");
        plugin.modulate("mix", 0.0);
        assert_eq!(value(&mut plugin), 0.75, "{id}");
    }
}
