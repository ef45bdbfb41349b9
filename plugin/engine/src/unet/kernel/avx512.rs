//! AVX-512: 32 registers of 16 floats.

use super::avx2::Avx2;
use super::isa::Job;
use super::vector::{Vector, VectorJob};
use std::arch::x86_64::{
    __m512, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_max_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// # Safety
/// As [`VectorJob::run`] for [`Avx512`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn vectors(job: impl VectorJob) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Avx512>() }
}

/// # Safety
/// The processor has AVX-512 F, DQ and VL.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
pub(super) unsafe fn run(job: impl Job) {
    job.run();
}

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

impl Vector for Avx512 {
    const LANES: usize = 16;
    type Half = Avx2;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_set1_ps(*from) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    fn leaky(self) -> Self {
        // SAFETY: a vector exists only where the instruction set does.
        Self(unsafe { _mm512_max_ps(self.0, _mm512_mul_ps(self.0, _mm512_set1_ps(crate::unet::SLOPE))) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let mask: __mmask16 = u16::MAX >> (Self::LANES - count);
        // SAFETY: the caller's promise; lanes outside the mask aren't touched.
        unsafe { _mm512_mask_storeu_ps(to, mask, self.0) }
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: every processor with this instruction set has SSE, and a prefetch of any address does nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
