//! The one place where latency is computed.

use crate::spec::Geometry;

/// Hops the audio thread waits beyond the restorer's own delay: one to collect the input hop, one of slack in which the worker computes.
///
/// One hop of slack is enough for host blocks up to a hop; larger blocks use the bounded wait of [`crate::link`].
pub const LINK_HOPS: usize = 2;

/// Samples between a hop entering [`crate::Restorer`] and the same audio leaving it: click repair look-ahead, the synthesis window
/// but for the hop in hand, and the network's look-ahead.
#[must_use]
pub const fn restorer_delay(geometry: &Geometry) -> usize {
    geometry.repair + (geometry.lookahead_hops + geometry.synthesis_hops - 1) * geometry.hop
}

/// Samples between input and output of the whole plugin: what the host is told.
#[must_use]
pub const fn total(geometry: &Geometry) -> usize {
    restorer_delay(geometry) + LINK_HOPS * geometry.hop
}
