//! Figures in tables: Markdown for people, JSON for a later run to be compared with.

use std::fmt::{self, Display, Write};

use serde_json::{Map, Value, json};

/// One entry.
pub(super) enum Cell {
    /// A name.
    Text(String),
    /// A measured or counted number.
    Number(f64),
    /// Not measured here.
    Missing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

impl Display for Cell {
    /// Three digits, which is more than measuring gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Missing => f.write_str("not measured"),
            Self::Number(x) if x.fract() == 0.0 || x.abs() >= 99.95 => write!(f, "{x:.0}"),
            Self::Number(x) if x.abs() >= 9.995 => write!(f, "{x:.1}"),
            Self::Number(x) if x.abs() >= 0.9995 => write!(f, "{x:.2}"),
            Self::Number(x) => write!(f, "{x:.3}"),
        }
    }
}

/// Figures of one kind.
pub(super) struct Table {
    /// Key in the JSON file.
    pub(super) name: &'static str,
    /// What was measured, and how.
    pub(super) caption: String,
    /// Names of the columns, with their units.
    pub(super) head: &'static [&'static str],
    /// As many entries each as the head has.
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\n| {} |\n|{}\n",
            self.caption,
            self.head.join(" | "),
            "---|".repeat(self.head.len())
        );
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
            // Writing to a string can't fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// The rows as objects with the columns' names as keys.
    pub(super) fn json(&self) -> Value {
        let value = |cell: &Cell| match cell {
            Cell::Text(text) => json!(text),
            Cell::Number(number) => json!(number),
            Cell::Missing => Value::Null,
        };
        let object = |row: &Vec<Cell>| -> Value {
            let pairs = self.head.iter().zip(row).map(|(key, cell)| ((*key).to_owned(), value(cell)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        json!({ "caption": self.caption, "rows": self.rows.iter().map(object).collect::<Vec<_>>() })
    }
}

/// Median, 99th percentile and largest of `values`, times `scale`. Nothing out of nothing.
pub(super) fn spread(values: &mut [f64], scale: f64) -> [Option<f64>; 3] {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values.get((values.len() * share / 100).min(values.len().saturating_sub(1)));
    [50, 99, 100].map(|share| at(share).map(|value| value * scale))
}

/// % of `values` up to each of the rising `edges` and above the one before, and above all of them. Nothing out of nothing.
pub(super) fn histogram(values: &[f64], edges: &[f64]) -> Vec<f64> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut counts = vec![0.0; edges.len() + 1];
    for value in values {
        counts[edges.partition_point(|edge| edge < value)] += 100.0 / values.len() as f64;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_in_both_forms() {
        let table = Table {
            name: "cost",
            caption: "What it costs.".to_owned(),
            head: &["who", "% of a core"],
            rows: vec![vec!["us".into(), 1.234.into()], vec!["them".into(), None.into()]],
        };
        assert_eq!(
            table.markdown(),
            "What it costs.\n\n| who | % of a core |\n|---|---|\n| us | 1.23 |\n| them | not measured |\n"
        );
        let rows = &table.json()["rows"];
        assert_eq!(rows[0]["% of a core"], json!(1.234));
        assert_eq!(rows[1]["% of a core"], Value::Null);
    }

    #[test]
    fn a_histogram_counts_each_value_once() {
        let shares = histogram(&[0.5, 1.0, 1.5, 9.0], &[1.0, 2.0, 4.0]);
        assert_eq!(shares, [50.0, 25.0, 0.0, 25.0]);
        assert!(histogram(&[], &[1.0]).is_empty());
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let mut values: Vec<f64> = (0..200).rev().map(f64::from).collect();
        assert_eq!(spread(&mut values, 2.0), [Some(200.0), Some(396.0), Some(398.0)]);
        assert_eq!(spread(&mut [], 1.0), [None; 3]);
        assert_eq!(spread(&mut [7.0], 1.0), [Some(7.0); 3]);
    }
}
