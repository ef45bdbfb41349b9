//! The instruction sets that the kernel has variants for, chosen at run time.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable::Portable;
use super::vector::{Vector, VectorJob};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use std::fmt;

/// An instruction set that this processor is known to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Work that [`Isa::run`] compiles for each instruction set. `run` must be `#[inline(always)]`, and so must be all it calls.
pub(crate) trait Job {
    /// Does the work.
    fn run(self);
}

impl Isa {
    /// All instruction sets of this processor that the kernel has a variant for, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other architectures have the portable variant only")]
        let mut all = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Kind::Avx2));
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                    all.push(Self(Kind::Avx512));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Kind::Neon));
        }
        all
    }

    /// The fastest one.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Kind::Portable))
    }

    /// Floats per vector register.
    pub(super) fn lanes(self) -> usize {
        self.lanes_and_half().0
    }

    /// The same, and those of half a register, if there are any.
    pub(super) fn lanes_and_half(self) -> (usize, usize) {
        fn of<V: Vector>() -> (usize, usize) {
            (V::LANES, V::Half::LANES)
        }
        match self.0 {
            Kind::Portable => of::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => of::<avx2::Avx2>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => of::<avx512::Avx512>(),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => of::<neon::Neon>(),
        }
    }

    /// Does `job`, compiled for this instruction set. Results don't depend on the set: nothing contracts or reorders floats.
    #[inline]
    pub(crate) fn run(self, job: impl Job) {
        match self.0 {
            Kind::Portable => job.run(),
            // SAFETY: an `Isa` of this kind exists only where the features were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::run(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::run(job) },
            // Every aarch64 target that Rust's standard library knows compiles for NEON anyway.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => job.run(),
        }
    }

    /// Does `job` with this instruction set's vectors.
    ///
    /// # Safety
    /// What the job points at is as its type promises.
    pub(super) unsafe fn vectors(self, job: impl VectorJob) {
        // SAFETY: the caller's promise; and an `Isa` of a kind exists only where the features were detected.
        unsafe {
            match self.0 {
                Kind::Portable => job.run::<Portable>(),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2::vectors(job),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => avx512::vectors(job),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => neon::vectors(job),
            }
        }
    }
}
