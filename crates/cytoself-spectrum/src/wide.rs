/// Runs `work` compiled for AVX2 where the processor has it, plainly elsewhere.
///
/// The loops inside fix the order of every sum, and an operation is fused only where it says `mul_add`, so that both give
/// the same bits.
#[inline(always)]
pub(crate) fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(avx2, Wide(work));
    }
    work()
}

#[cfg(target_arch = "x86_64")]
struct Wide<F>(F);

#[cfg(target_arch = "x86_64")]
impl<F: FnOnce() -> R, R> pulp::WithSimd for Wide<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> R {
        (self.0)()
    }
}
