//! Parameter changes over time, read from a plain text file.
//!
//! One change a line: `seconds,id,value`, for instance `12.5,stage1,80`. Seconds count from the start of the recording, values are those of
//! `--set`. A parameter keeps its value until its next line. Empty lines, lines that begin with `#` and a first line `seconds,id,value` are
//! skipped; lines may come in any order. Each change lands on its exact sample of the recording, whatever the plugin's latency.

use std::fs;
use std::path::Path;

use thiserror::Error;

use crate::host::{HostError, Instance, parameter_number};
use crate::parameters::{ParameterError, Setting};

/// Why an automation file can't be used.
#[derive(Debug, Error)]
pub enum AutomationError {
    /// It can't be read.
    #[error("can't read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A line has other than three fields.
    #[error("line {line}: expected seconds,id,value but found {found:?}")]
    Fields {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        found: String,
    },
    /// A time is no number or lies before the start.
    #[error("line {line}: {found:?} is not a time in seconds (0 or more)")]
    Time {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        found: String,
    },
    /// A parameter or a value is not known.
    #[error("line {line}: {reason}")]
    Setting {
        /// Its number, from 1.
        line: usize,
        /// Why.
        reason: ParameterError,
    },
}

/// A change at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Time from the start of the recording.
    pub seconds: f64,
    /// What takes effect.
    pub setting: Setting,
}

/// A change at a sample, in the plugin's own numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Sample of the recording.
    pub sample: u64,
    /// CLAP's number of the parameter.
    pub number: u32,
    /// CLAP value.
    pub value: f64,
}

/// Reads the file at `path`; the points are in order of time.
///
/// # Errors
/// If it can't be read, or for the first line that is wrong.
pub fn read(path: &Path) -> Result<Vec<Point>, AutomationError> {
    let text = fs::read_to_string(path).map_err(|reason| AutomationError::Read {
        path: path.display().to_string(),
        reason,
    })?;
    parse(&text)
}

/// Reads the text of an automation file; the points are in order of time, those of one time in order of their lines.
///
/// # Errors
/// For the first line that is wrong.
pub fn parse(text: &str) -> Result<Vec<Point>, AutomationError> {
    let mut points = Vec::new();
    let mut first = true;
    for (index, whole) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = index + 1;
        let content = whole.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = content.split(',').map(str::trim).collect();
        let &[time, id, value] = fields.as_slice() else {
            return Err(AutomationError::Fields {
                line,
                found: content.to_owned(),
            });
        };
        let header = std::mem::take(&mut first) && time.eq_ignore_ascii_case("seconds");
        if header {
            continue;
        }
        let seconds = time.parse::<f64>().ok().filter(|t| t.is_finite() && *t >= 0.0);
        points.push(Point {
            seconds: seconds.ok_or_else(|| AutomationError::Time {
                line,
                found: time.to_owned(),
            })?,
            setting: Setting::new(id, value).map_err(|reason| AutomationError::Setting { line, reason })?,
        });
    }
    points.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(points)
}

/// The points as samples and CLAP values.
///
/// # Errors
/// If the plugin doesn't take one of them.
pub fn resolve(points: &[Point], sample_rate_hz: u32, instance: &mut Instance) -> Result<Vec<Event>, HostError> {
    points
        .iter()
        .map(|point| {
            Ok(Event {
                sample: sample_of(point.seconds, sample_rate_hz),
                number: parameter_number(point.setting.parameter.id),
                value: point.setting.clap_value(instance)?,
            })
        })
        .collect()
}

/// The sample nearest to a time.
#[must_use]
pub fn sample_of(seconds: f64, sample_rate_hz: u32) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are checked to be finite and not negative; the cast saturates beyond"
    )]
    let sample = (seconds * f64::from(sample_rate_hz)).round() as u64;
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Value;

    fn message(text: &str) -> String {
        parse(text).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn points_come_in_order_of_time() {
        let text = "\u{feff}seconds,id,value\n# a remark\n\n2.5, stage1, 80\n0,limit,none\n1,removed,on\r\n1,removed,off\n";
        let points = parse(text).unwrap_or_default();
        let read: Vec<_> = points
            .iter()
            .map(|p| (p.seconds, p.setting.parameter.id, p.setting.value))
            .collect();
        assert_eq!(
            read,
            [
                (0.0, "limit", Value::Word("none")),
                (1.0, "removed", Value::Switch(true)),
                (1.0, "removed", Value::Switch(false)),
                (2.5, "stage1", Value::Number(80.0)),
            ]
        );
    }

    #[test]
    fn errors_carry_the_line() {
        assert_eq!(
            message("0,mix,50\n1,mix\n"),
            "line 2: expected seconds,id,value but found \"1,mix\""
        );
        assert_eq!(
            message("0,mix,50\n\n-1,mix,50"),
            "line 3: \"-1\" is not a time in seconds (0 or more)"
        );
        assert!(message("soon,mix,50").starts_with("line 1: \"soon\" is not a time"));
        assert!(message("0,mix,500").starts_with("line 1: mix takes 0 to 100"));
        assert!(message("0,mixx,50").contains("did you mean \"mix\"?"));
        assert!(message("0,mix,50\nseconds,id,value").starts_with("line 2:"));
    }

    #[test]
    fn times_become_samples() {
        assert_eq!(sample_of(0.0, 44_100), 0);
        assert_eq!(sample_of(1.5, 44_100), 66_150);
        assert_eq!(sample_of(1.0 / 48_000.0, 48_000), 1);
    }
}
