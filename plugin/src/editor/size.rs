//! The window's size, as sessions keep it.

use nice_plug::params::persist::PersistentField;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Width and height of the editor's window in logical pixels. In a session: `[width, height]`.
#[derive(Debug)]
pub struct PanelSize {
    width: AtomicU32,
    height: AtomicU32,
    /// Bits of an `f64`: physical pixels per logical one, as last heard from the window. Not kept in sessions.
    scale_factor: AtomicU64,
}

impl Default for PanelSize {
    fn default() -> Self {
        Self {
            width: AtomicU32::new(Self::USUAL[0]),
            height: AtomicU32::new(Self::USUAL[1]),
            scale_factor: AtomicU64::new(1.0f64.to_bits()),
        }
    }
}

impl PanelSize {
    /// Size of a new instance's window.
    pub const USUAL: [u32; 2] = [940, 660];
    /// Smallest window in which the panel can be used.
    pub const LEAST: [u32; 2] = [820, 540];
    /// Largest window a session may ask for.
    pub const MOST: [u32; 2] = [4096, 4096];

    /// Width and height in logical pixels.
    #[must_use]
    pub fn get(&self) -> [u32; 2] {
        [self.width.load(Relaxed), self.height.load(Relaxed)]
    }

    /// Sets width and height in logical pixels, within [`PanelSize::LEAST`] and [`PanelSize::MOST`].
    pub fn set(&self, [width, height]: [u32; 2]) {
        self.width.store(width.clamp(Self::LEAST[0], Self::MOST[0]), Relaxed);
        self.height.store(height.clamp(Self::LEAST[1], Self::MOST[1]), Relaxed);
    }

    /// Physical pixels per logical one.
    #[must_use]
    pub fn scale_factor(&self) -> f64 {
        f64::from_bits(self.scale_factor.load(Relaxed))
    }

    /// Remembers the window's scale factor.
    pub(crate) fn set_scale_factor(&self, scale_factor: f64) {
        if scale_factor.is_finite() && scale_factor > 0.0 {
            self.scale_factor.store(scale_factor.to_bits(), Relaxed);
        }
    }
}

impl PersistentField<'_, [u32; 2]> for PanelSize {
    fn set(&self, new_value: [u32; 2]) {
        Self::set(self, new_value);
    }

    fn map<F, R>(&self, f: F) -> R
    where
        F: Fn(&[u32; 2]) -> R,
    {
        f(&self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_usable() {
        let size = PanelSize::default();
        assert_eq!(size.get(), PanelSize::USUAL);
        size.set([0, u32::MAX]);
        assert_eq!(size.get(), [PanelSize::LEAST[0], PanelSize::MOST[1]]);
        size.set_scale_factor(f64::NAN);
        assert_eq!(size.scale_factor(), 1.0);
    }
}
