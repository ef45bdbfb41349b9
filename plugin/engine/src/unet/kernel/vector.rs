//! What the kernel asks of an instruction set.

/// A vector register. Making one needs `unsafe`, so whoever has one knows that the processor has its instruction set.
///
/// All methods must be `#[inline(always)]`: they become instructions only inside a function compiled for the instruction set.
pub(super) trait Vector: Copy {
    /// Floats in it.
    const LANES: usize;

    /// One of half as many floats, or itself where there is none: for columns that would leave half of a vector empty.
    type Half: Vector;

    /// How many of them a tile may keep at once.
    const REGISTERS: usize;

    /// All lanes 0.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn zero() -> Self;

    /// # Safety
    /// The processor has the instruction set, and `from` is readable for a vector.
    unsafe fn load(from: *const f32) -> Self;

    /// One float in all lanes.
    ///
    /// # Safety
    /// The processor has the instruction set, and `from` is readable.
    unsafe fn splat(from: *const f32) -> Self;

    /// `self * factor + sum`; whether the product is rounded is the instruction set's affair.
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// Leaky ReLU of slope [`crate::unet::SLOPE`].
    fn leaky(self) -> Self;

    /// # Safety
    /// `to` is writable for a vector.
    unsafe fn store(self, to: *mut f32);

    /// The first `count` lanes only.
    ///
    /// # Safety
    /// `to` is writable for `count` floats, at least one and fewer than a vector.
    unsafe fn store_part(self, to: *mut f32, count: usize);

    /// Asks for the cache line at `from`, which may be anywhere.
    fn prefetch(_from: *const f32) {}
}

/// Work on raw memory, written once for any vector register; [`super::Isa::vectors`] compiles it for each.
pub(super) trait VectorJob {
    /// Does the work. Must be `#[inline(always)]`, and so must be all it calls.
    ///
    /// # Safety
    /// What the job points at is as its type promises, and the processor has `V`'s instruction set.
    unsafe fn run<V: Vector>(self);
}
