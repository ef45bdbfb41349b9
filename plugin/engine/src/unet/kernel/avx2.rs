//! AVX2 and FMA: 16 registers of 8 floats.

use super::isa::Job;
use super::vector::{Vector, VectorJob};
use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};

/// # Safety
/// As [`VectorJob::run`] for [`Avx2`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn vectors(job: impl VectorJob) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Avx2>() }
}

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(job: impl Job) {
    job.run();
}

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

impl Vector for Avx2 {
    const LANES: usize = 8;
    type Half = Self;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_set1_ps(*from) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    fn leaky(self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { _mm256_max_ps(self.0, _mm256_mul_ps(self.0, _mm256_set1_ps(crate::unet::SLOPE))) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0; Self::LANES];
        // SAFETY: `lanes` holds a vector, and more than `count` floats; the rest is the caller's promise.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), self.0);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: every processor with this instruction set has SSE, and a prefetch of any address does nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
