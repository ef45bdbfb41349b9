//! Undo, redo, and the two sides of the A/B comparison. Kept as long as the plugin is loaded.

use std::time::{Duration, Instant};

/// Steps of undo at most.
const DEPTH: usize = 200;
/// Steps of one parameter that follow each other within this time (keys, wheel) are one.
const MERGE: Duration = Duration::from_millis(900);

/// What happened to one parameter. Values are normalized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) id: &'static str,
    pub(super) before: f32,
    pub(super) after: f32,
}

/// Values of parameters.
pub(super) type Values = Vec<(&'static str, f32)>;

/// The undo history of one side.
#[derive(Debug, Default)]
struct Side {
    done: Vec<Vec<Change>>,
    undone: Vec<Vec<Change>>,
    last: Option<Instant>,
}

impl Side {
    fn push(&mut self, step: Vec<Change>) {
        self.undone.clear();
        self.done.push(step);
        if self.done.len() > DEPTH {
            self.done.remove(0);
        }
    }
}

/// Undo history and A/B comparison. Each side has its own steps of undo.
#[derive(Debug, Default)]
pub(super) struct History {
    sides: [Side; 2],
    /// Index of the side in force: 0 is A.
    current: usize,
    /// What the other side was left with; none until it was visited.
    other: Option<Values>,
    /// Controls that the user holds.
    held: Vec<Change>,
}

impl History {
    /// The user takes hold of a control.
    pub(super) fn hold(&mut self, id: &'static str, value: f32) {
        self.held.retain(|change| change.id != id);
        self.held.push(Change {
            id,
            before: value,
            after: value,
        });
    }

    /// The user moves a control that is held.
    pub(super) fn moved(&mut self, id: &'static str, value: f32) {
        if let Some(change) = self.held.iter_mut().find(|change| change.id == id) {
            change.after = value;
        }
    }

    /// Controls that the user holds, with their values.
    pub(super) fn held(&self) -> impl Iterator<Item = (&'static str, f32)> {
        self.held.iter().map(|change| (change.id, change.after))
    }

    /// The user lets go.
    pub(super) fn release(&mut self, id: &'static str) {
        if let Some(index) = self.held.iter().position(|change| change.id == id) {
            let change = self.held.swap_remove(index);
            self.record(vec![change], Instant::now());
        }
    }

    /// Notes one step.
    pub(super) fn record(&mut self, mut changes: Vec<Change>, now: Instant) {
        changes.retain(|change| change.before != change.after);
        if changes.is_empty() {
            return;
        }
        let side = &mut self.sides[self.current];
        let soon = side.last.is_some_and(|last| now.duration_since(last) < MERGE);
        side.last = Some(now);
        if soon
            && let (Some(last), [new]) = (side.done.last_mut(), changes.as_slice())
            && let [old] = last.as_mut_slice()
            && old.id == new.id
        {
            old.after = new.after;
            side.undone.clear();
            return;
        }
        side.push(changes);
    }

    /// The last step, which is then undone.
    pub(super) fn undo(&mut self) -> Vec<Change> {
        let side = &mut self.sides[self.current];
        side.last = None;
        let step = side.done.pop().unwrap_or_default();
        if !step.is_empty() {
            side.undone.push(step.clone());
        }
        step
    }

    /// The last step undone, which is then done again.
    pub(super) fn redo(&mut self) -> Vec<Change> {
        let side = &mut self.sides[self.current];
        side.last = None;
        let step = side.undone.pop().unwrap_or_default();
        if !step.is_empty() {
            side.done.push(step.clone());
        }
        step
    }

    /// Whether there is a step to undo.
    pub(super) fn can_undo(&self) -> bool {
        !self.sides[self.current].done.is_empty()
    }

    /// Whether there is a step to do again.
    pub(super) fn can_redo(&self) -> bool {
        !self.sides[self.current].undone.is_empty()
    }

    /// The side in force.
    pub(super) fn side(&self) -> char {
        ['A', 'B'][self.current]
    }

    /// Goes to the other side, leaving `values` here. Returns what the other side was left with: at the first visit that is the same.
    pub(super) fn swap(&mut self, values: Values) -> Values {
        self.current = 1 - self.current;
        self.other.replace(values.clone()).unwrap_or(values)
    }

    /// The other side becomes the same as this one, which is one step of undo there.
    pub(super) fn copy_to_other(&mut self, values: Values) {
        let old = self.other.replace(values.clone()).unwrap_or_default();
        let changes: Vec<_> = values
            .into_iter()
            .filter_map(|(id, after)| {
                let (_, before) = *old.iter().find(|(known, _)| *known == id)?;
                (before != after).then_some(Change { id, before, after })
            })
            .collect();
        if !changes.is_empty() {
            let side = &mut self.sides[1 - self.current];
            // Later changes there don't merge with ones from before.
            side.last = None;
            side.push(changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &'static str, before: f32, after: f32) -> Change {
        Change { id, before, after }
    }

    #[test]
    fn steps_are_undone_and_done_again_in_order() {
        let mut history = History::default();
        let start = Instant::now();
        history.record(vec![change("mix", 1.0, 0.5)], start);
        history.record(vec![change("mix", 0.5, 0.25)], start + MERGE * 2);
        history.record(vec![change("mix", 0.25, 0.25)], start + MERGE * 3);
        assert_eq!(history.undo(), [change("mix", 0.5, 0.25)]);
        assert_eq!(history.undo(), [change("mix", 1.0, 0.5)]);
        assert!(history.undo().is_empty() && history.can_redo());
        assert_eq!(history.redo(), [change("mix", 1.0, 0.5)]);
        history.record(vec![change("limit", 1.0, 0.1)], start + MERGE * 9);
        assert!(!history.can_redo(), "a new step ends what could be done again");
    }

    #[test]
    fn quick_steps_of_one_parameter_are_one() {
        let mut history = History::default();
        let start = Instant::now();
        for step in 0u8..5 {
            let value = f32::from(step) / 10.0;
            history.record(vec![change("mix", value, value + 0.1)], start + MERGE / 2 * u32::from(step));
        }
        let step = history.undo();
        assert_eq!((step.len(), step[0].before), (1, 0.0));
        assert!(!history.can_undo());
    }

    #[test]
    fn each_side_has_its_own_values_and_steps() {
        let mut history = History::default();
        history.record(vec![change("mix", 1.0, 0.5)], Instant::now());
        assert_eq!(history.swap(vec![("mix", 0.5)]), [("mix", 0.5)], "the first visit changes nothing");
        assert_eq!((history.side(), history.can_undo()), ('B', false));
        assert_eq!(history.swap(vec![("mix", 0.2)]), [("mix", 0.5)]);
        assert_eq!(history.swap(vec![("mix", 0.5)]), [("mix", 0.2)]);
        history.copy_to_other(vec![("mix", 0.2)]);
        assert_eq!(history.swap(vec![("mix", 0.2)]), [("mix", 0.2)]);
        assert_eq!(
            history.undo(),
            [change("mix", 0.5, 0.2)],
            "the copy is a step of the side that it changed"
        );
    }
}
