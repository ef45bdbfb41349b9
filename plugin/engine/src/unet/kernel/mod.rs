//! The networks' inner loops, and the only module of the engine with `unsafe` code.
//!
//! What a streaming stage computes with weights is one operation, [`Affine::apply`]: rows of the output are an
//! activation of a bias plus a sum over sources of matrix products,
//!
//! ```text
//! out[row, 0..columns] = activation(bias[row or 0] + sum over s of data_s[row * stride_s ..][..inner_s] . weights_s)
//! ```
//!
//! Planes are channels-last, `[band][channel]` with one zero band at each side, so the three bands that a convolution
//! sees are one contiguous slice of `3 * channels` values and neighbouring rows overlap: nothing is ever unfolded.
//! Weights are packed in panels as wide as two vector registers, or one, or half of one at the end; the sources follow each other inside a panel, so they
//! are read once, in order. A register tile of rows times one panel is summed over all sources and written once.
//!
//! Before and after it, convolutions that are computed by minimal filtering combine rows: [`split`] and [`join`].
//!
//! | file | what lives there |
//! |---|---|
//! | `affine.rs` | the safe interface: packs weights, checks every bound |
//! | `tile.rs` | the loop itself, written once for any vector register |
//! | `minimal.rs` | rows to points of minimal filtering and back, likewise |
//! | `vector.rs` | what an instruction set is asked for |
//! | `portable.rs`, `avx2.rs`, `avx512.rs`, `neon.rs` | one kind of vector register each; the portable one is plain Rust and is what the others are tested against |
//! | `isa.rs` | which of them this processor has; other code compiled for each of them |
//! | `buffer.rs` | memory that starts on a cache line |

#![allow(
    unsafe_code,
    reason = "SIMD intrinsics on raw pointers; the safe interface checks every bound before they are formed"
)]

mod affine;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod buffer;
mod isa;
mod minimal;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;
mod tile;
mod vector;

pub(crate) use affine::{Activation, Affine, Rows};
pub(crate) use buffer::Buffer;
pub use isa::Isa;
pub(crate) use isa::Job;
pub(crate) use minimal::{POINTS, Products, TILE, filter, join, split};
