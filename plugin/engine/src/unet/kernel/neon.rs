//! NEON: 32 registers of 4 floats.

use super::vector::{Vector, VectorJob};
use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_dup_f32, vld1q_f32, vmaxq_f32, vmulq_n_f32, vst1q_f32};

/// # Safety
/// As [`VectorJob::run`] for [`Neon`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn vectors(job: impl VectorJob) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Neon>() }
}

#[derive(Clone, Copy)]
pub(super) struct Neon(float32x4_t);

impl Vector for Neon {
    const LANES: usize = 4;
    type Half = Self;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vld1q_dup_f32(from) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { vfmaq_f32(sum.0, self.0, factor.0) })
    }

    #[inline(always)]
    fn leaky(self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { vmaxq_f32(self.0, vmulq_n_f32(self.0, crate::unet::SLOPE)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0; Self::LANES];
        // SAFETY: `lanes` holds a vector, and more than `count` floats; the rest is the caller's promise.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), self.0);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }
}
