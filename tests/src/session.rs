//! What is in a saved state: in CLAP's form the length of its JSON in eight bytes, then the JSON.

use crate::Plugin;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Bytes before the JSON: its length.
pub const HEADER: usize = 8;

/// The JSON inside a saved state.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn parse(saved: &[u8]) -> Value {
    serde_json::from_slice(&saved[HEADER..]).expect("a state in JSON")
}

/// A state around other JSON.
#[must_use]
pub fn wrap(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u64).to_le_bytes(), content].concat()
}

/// The numbers in a saved state, by the parameters' ids and in their own units, as the plugin works with them. What a host is told of them can't show one out of range.
///
/// # Panics
/// If the state isn't one of the plugin's own.
#[must_use]
pub fn numbers(saved: &[u8]) -> BTreeMap<String, f64> {
    let content = parse(saved);
    let parameters = content["params"].as_object().expect("parameters");
    let number = |value: &Value| value["f32"].as_f64().or(value["i32"].as_f64());
    parameters
        .iter()
        .filter_map(|(id, value)| Some((id.clone(), number(value)?)))
        .collect()
}

/// The numbers that a state may hold: those at both ends of the host's scale. Moves the parameters.
///
/// # Panics
/// If the plugin can't save.
#[must_use]
pub fn ranges(plugin: &mut Plugin) -> BTreeMap<String, RangeInclusive<f64>> {
    let ids: Vec<String> = numbers(&plugin.save()).into_keys().collect();
    let mut range = |id: &str| {
        let greatest = if id == "hum" { 3.0 } else { 1.0 };
        let [least, greatest] = [0.0, greatest].map(|value| {
            plugin.set_value(id, value);
            numbers(&plugin.save())[id]
        });
        least..=greatest
    };
    ids.into_iter().map(|id| (id.clone(), range(&id))).collect()
}

/// Fails if a number in a saved state is out of its range.
///
/// # Panics
/// Then.
#[track_caller]
pub fn assert_in_range(saved: &[u8], ranges: &BTreeMap<String, RangeInclusive<f64>>, what: &str) {
    for (id, number) in numbers(saved) {
        assert!(
            ranges[&id].contains(&number),
            "{what}: {id} is {number}: expected {:?}",
            ranges[&id]
        );
    }
}
