//! The plugin's parameters as a user of the command line writes them.

use std::fmt;

use thiserror::Error;

use crate::host::{HostError, Instance};

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// 0 to 100.
    Percent,
    /// 0 to 60 dB or "none".
    Limit,
    /// Decibels in a range.
    Decibels {
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
    },
    /// Hertz in a range, or "off".
    Cut {
        /// Lowest cut-off.
        min: f64,
        /// Highest cut-off.
        max: f64,
    },
    /// One of the plugin's own words.
    Choice(&'static [&'static str]),
    /// "on" or "off".
    Switch,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent => f.write_str("0 to 100 (percent)"),
            Self::Limit => f.write_str("0 to 60 (dB) or none"),
            Self::Decibels { min, max } => write!(f, "{min} to {max} (dB)"),
            Self::Cut { min, max } => write!(f, "{min} to {max} (Hz) or off"),
            Self::Choice(words) => f.write_str(&words.join(", ")),
            Self::Switch => f.write_str("on or off"),
        }
    }
}

/// One of the plugin's parameters.
#[derive(Debug, PartialEq)]
pub struct Parameter {
    /// Its id, the same in every version.
    pub id: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// What it takes.
    pub kind: Kind,
}

/// All parameters of both plugins.
pub const PARAMETERS: [Parameter; 16] = [
    Parameter {
        id: "declick",
        meaning: "click repair sensitivity, 0 turns it off",
        kind: Kind::Percent,
    },
    Parameter {
        id: "stage1",
        meaning: "noise reduction",
        kind: Kind::Percent,
    },
    Parameter {
        id: "stage2",
        meaning: "detail restoration",
        kind: Kind::Percent,
    },
    Parameter {
        id: "limit",
        meaning: "reduction limit: how far anything may fall",
        kind: Kind::Limit,
    },
    Parameter {
        id: "mix",
        meaning: "dry/wet mix",
        kind: Kind::Percent,
    },
    Parameter {
        id: "output",
        meaning: "output gain",
        kind: Kind::Decibels { min: -24.0, max: 24.0 },
    },
    Parameter {
        id: "removed",
        meaning: "give what is removed instead of what is restored",
        kind: Kind::Switch,
    },
    Parameter {
        id: "link",
        meaning: "both channels share one gain pattern",
        kind: Kind::Switch,
    },
    Parameter {
        id: "bypass",
        meaning: "give the delayed input",
        kind: Kind::Switch,
    },
    Parameter {
        id: "low_cut",
        meaning: "output section: low-cut",
        kind: Kind::Cut { min: 10.0, max: 300.0 },
    },
    Parameter {
        id: "hum",
        meaning: "output section: hum notch",
        kind: Kind::Choice(&["off", "50 Hz", "60 Hz", "auto"]),
    },
    Parameter {
        id: "tilt",
        meaning: "output section: treble up and bass down, or the reverse",
        kind: Kind::Decibels { min: -6.0, max: 6.0 },
    },
    Parameter {
        id: "comp",
        meaning: "output section: amount of compression, 0 turns it off",
        kind: Kind::Percent,
    },
    Parameter {
        id: "declip",
        meaning: "repair of clipped peaks",
        kind: Kind::Switch,
    },
    Parameter {
        id: "speech",
        meaning: "speech is all that is wanted: whatever isn't a voice is noise",
        kind: Kind::Switch,
    },
    Parameter {
        id: "dropouts",
        meaning: "repair of dropouts",
        kind: Kind::Switch,
    },
];

/// The list of parameters for the help text.
#[must_use]
pub fn help() -> String {
    let lines = PARAMETERS
        .iter()
        .map(|p| format!("  {:<8} {}: {}", p.id, p.meaning, p.kind.to_string().replace(" (percent)", " %")));
    format!("Parameters:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Why a value can't be set.
#[derive(Debug, Error, PartialEq)]
pub enum ParameterError {
    /// Not of the form `id=value`.
    #[error("{found:?} is not of the form id=value")]
    Form {
        /// What was written.
        found: String,
    },
    /// No parameter is called that.
    #[error("no parameter {found:?}{}; there are {}", nearest.map(|n| format!(", did you mean {n:?}?")).unwrap_or_default(),
        PARAMETERS.map(|p| p.id).join(", "))]
    Unknown {
        /// What was written.
        found: String,
        /// The parameter whose name is most like it.
        nearest: Option<&'static str>,
    },
    /// Not a value that the parameter takes.
    #[error("{id} takes {expected}, not {found:?}")]
    Value {
        /// The parameter.
        id: &'static str,
        /// What was written.
        found: String,
        /// What it takes.
        expected: Kind,
    },
}

/// A value, checked to be in its parameter's range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// In percent or dB.
    Number(f64),
    /// No limit, no cut, or another word of the plugin's.
    Word(&'static str),
    /// On or off.
    Switch(bool),
}

/// A parameter and a value that it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The parameter.
    pub parameter: &'static Parameter,
    /// Its value.
    pub value: Value,
}

impl Setting {
    /// Reads an id and a value. A unit after the number (`%`, `dB`) is taken too.
    ///
    /// # Errors
    /// If there is no such parameter or it doesn't take the value.
    pub fn new(id: &str, text: &str) -> Result<Self, ParameterError> {
        let id = id.trim();
        let parameter = PARAMETERS
            .iter()
            .find(|p| p.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| ParameterError::Unknown {
                found: id.to_owned(),
                nearest: nearest(id),
            })?;
        let refused = || ParameterError::Value {
            id: parameter.id,
            found: text.trim().to_owned(),
            expected: parameter.kind,
        };
        let plain = text.trim().to_ascii_lowercase();
        let number = |unit: &str, min: f64, max: f64| {
            let digits = plain.strip_suffix(unit).unwrap_or(&plain).trim_end();
            digits.parse::<f64>().ok().filter(|n| (min..=max).contains(n)).map(Value::Number)
        };
        let value = match parameter.kind {
            Kind::Percent => number("%", 0.0, 100.0),
            Kind::Limit if plain == "none" => Some(Value::Word("none")),
            Kind::Limit => number("db", 0.0, 60.0),
            Kind::Decibels { min, max } => number("db", min, max),
            Kind::Cut { .. } if plain == "off" => Some(Value::Word("off")),
            Kind::Cut { min, max } => number("hz", min, max),
            Kind::Choice(words) => {
                // "50", "50Hz" and "50 hz" are the same.
                let bare = |word: &str| word.replace(' ', "").to_ascii_lowercase();
                let is = |word: &str| bare(word) == bare(&plain) || bare(word).strip_suffix("hz") == Some(&*bare(&plain));
                words.iter().copied().find(|word| is(word)).map(Value::Word)
            }
            Kind::Switch => match plain.as_str() {
                "on" | "true" | "yes" | "1" => Some(Value::Switch(true)),
                "off" | "false" | "no" | "0" => Some(Value::Switch(false)),
                _ => None,
            },
        };
        Ok(Self {
            parameter,
            value: value.ok_or_else(refused)?,
        })
    }

    /// The plugin's own number for this value.
    ///
    /// # Errors
    /// If the plugin doesn't have the parameter or doesn't take the value.
    pub fn clap_value(&self, instance: &mut Instance) -> Result<f64, HostError> {
        let id = self.parameter.id;
        if instance.value(id).is_none() {
            return Err(HostError::NoSuchParameter { id: id.to_owned() });
        }
        match self.value {
            Value::Switch(on) => Ok(f64::from(u8::from(on))),
            Value::Number(number) => instance.text_to_value(id, &number.to_string()),
            Value::Word(word) => instance.text_to_value(id, word),
        }
    }
}

impl std::str::FromStr for Setting {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, value) = text
            .split_once('=')
            .ok_or_else(|| ParameterError::Form { found: text.to_owned() })?;
        Self::new(id, value)
    }
}

/// The parameter whose id is most like `id`, if any is like it at all.
fn nearest(id: &str) -> Option<&'static str> {
    let id = id.to_ascii_lowercase();
    PARAMETERS
        .iter()
        .map(|p| (strsim::jaro_winkler(p.id, &id), p.id))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Value, ParameterError> {
        text.parse::<Setting>().map(|s| s.value)
    }

    #[test]
    fn values_are_read_with_and_without_unit() {
        assert_eq!(value("stage1=80"), Ok(Value::Number(80.0)));
        assert_eq!(value(" stage1 = 80 % "), Ok(Value::Number(80.0)));
        assert_eq!(value("output=-3.5dB"), Ok(Value::Number(-3.5)));
        assert_eq!(value("limit=none"), Ok(Value::Word("none")));
        assert_eq!(value("limit=24"), Ok(Value::Number(24.0)));
        assert_eq!(value("removed=on"), Ok(Value::Switch(true)));
        assert_eq!(value("link=false"), Ok(Value::Switch(false)));
        assert_eq!(value("low_cut=80 Hz"), Ok(Value::Number(80.0)));
        assert_eq!(value("low_cut=Off"), Ok(Value::Word("off")));
        for text in ["hum=50", "hum=50hz", "hum = 50 Hz"] {
            assert_eq!(value(text), Ok(Value::Word("50 Hz")), "{text}");
        }
        assert_eq!(value("hum=AUTO"), Ok(Value::Word("auto")));
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        for text in [
            "stage1=101",
            "mix=-1",
            "output=24.1",
            "limit=61",
            "stage2=nan",
            "declick=much",
            "removed=maybe",
            "mix=",
            "low_cut=9",
            "low_cut=none",
            "hum=55",
            "hum=",
            "tilt=7 dB",
        ] {
            let message = value(text).map_err(|e| e.to_string());
            let id = text.split('=').next().unwrap_or_default();
            assert!(
                message.as_ref().is_err_and(|m| m.starts_with(&format!("{id} takes "))),
                "{text}: {message:?}"
            );
        }
        assert_eq!(
            value("mix=120").map_err(|e| e.to_string()),
            Err("mix takes 0 to 100 (percent), not \"120\"".to_owned())
        );
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let message = value("stag1=3").map_err(|e| e.to_string());
        assert!(message.is_err_and(|m| m.contains("did you mean \"stage1\"?") && m.contains("declick, stage1, stage2")));
        let message = value("zzz=3").map_err(|e| e.to_string());
        assert!(message.is_err_and(|m| !m.contains("did you mean")));
        assert_eq!(
            value("stage1"),
            Err(ParameterError::Form {
                found: "stage1".to_owned()
            })
        );
    }
}
