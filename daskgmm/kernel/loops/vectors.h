// Vectors of one instruction set, and what is done with them that bits depend on.
//
// A sum over rows has 64 bytes of lanes (8 float64 or 16 float32), whatever registers there
// are: row i is added to lane i modulo that, and lanes are added as `fold` and `quad` have it.
// All else is done row by row. So every instruction set that has FMA gives the same bits.

#pragma once

#include <stdint.h>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#else
#error "no fused multiply-add on this instruction set: NumPy does the work"
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define OF_BYTES(bytes) __attribute__((vector_size(bytes)))

namespace {

constexpr int64_t LANE_BYTES = 64;
constexpr int PARTS = LANE_BYTES / VECTOR_BYTES;  // registers that hold the lanes of a sum

typedef double Float64 OF_BYTES(VECTOR_BYTES);
typedef float Float32 OF_BYTES(VECTOR_BYTES);
typedef float HalfFloat32 OF_BYTES(VECTOR_BYTES / 2);
typedef uint64_t Bits64 OF_BYTES(VECTOR_BYTES);
typedef uint32_t Bits32 OF_BYTES(VECTOR_BYTES);
typedef double Quad64 OF_BYTES(32);
typedef float Quad32 OF_BYTES(16);
typedef double Oct64 OF_BYTES(64);
typedef float Oct32 OF_BYTES(32);
typedef int32_t OctOrder32 OF_BYTES(32);
typedef int64_t Order64 OF_BYTES(32);
typedef int32_t Order32 OF_BYTES(16);

template <class T>
struct Of;
template <>
struct Of<double> {
    using Vector = Float64;
    using Quad = Quad64;
    using Order = Order64;
    using Oct = Oct64;
};
template <>
struct Of<float> {
    using Vector = Float32;
    using Quad = Quad32;
    using Order = Order32;
    using Oct = Oct32;
};
template <class T>
using Vector = typename Of<T>::Vector;
template <class T>
using Quad = typename Of<T>::Quad;

template <class T>
using Oct = typename Of<T>::Oct;

template <class T>
constexpr int64_t WIDTH = VECTOR_BYTES / sizeof(T);
template <class T>
constexpr int64_t LANES = LANE_BYTES / sizeof(T);

#if defined(__AVX512F__)
INLINE Float64 all(double x) { return (Float64)_mm512_set1_pd(x); }
INLINE Float32 all(float x) { return (Float32)_mm512_set1_ps(x); }
INLINE Float64 fma(Float64 a, Float64 b, Float64 c) { return (Float64)_mm512_fmadd_pd(a, b, c); }
INLINE Float32 fma(Float32 a, Float32 b, Float32 c) { return (Float32)_mm512_fmadd_ps(a, b, c); }
INLINE uint32_t above(Float64 a, Float64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
INLINE uint32_t above(Float32 a, Float32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
INLINE uint32_t are_nan(Float64 x) { return _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q); }
INLINE uint32_t are_nan(Float32 x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
#elif defined(__AVX2__)
INLINE Float64 all(double x) { return (Float64)_mm256_set1_pd(x); }
INLINE Float32 all(float x) { return (Float32)_mm256_set1_ps(x); }
INLINE Float64 fma(Float64 a, Float64 b, Float64 c) { return (Float64)_mm256_fmadd_pd(a, b, c); }
INLINE Float32 fma(Float32 a, Float32 b, Float32 c) { return (Float32)_mm256_fmadd_ps(a, b, c); }
INLINE uint32_t above(Float64 a, Float64 b) {
    return (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ));
}
INLINE uint32_t above(Float32 a, Float32 b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
INLINE uint32_t are_nan(Float64 x) {
    return (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(x, x, _CMP_UNORD_Q));
}
INLINE uint32_t are_nan(Float32 x) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
#else
INLINE Float64 all(double x) { return (Float64)vdupq_n_f64(x); }
INLINE Float32 all(float x) { return (Float32)vdupq_n_f32(x); }
INLINE Float64 fma(Float64 a, Float64 b, Float64 c) {
    return (Float64)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
INLINE Float32 fma(Float32 a, Float32 b, Float32 c) {
    return (Float32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE uint32_t above(Float64 a, Float64 b) {
    return (uint32_t)(a[0] > b[0]) | (uint32_t)(a[1] > b[1]) << 1;
}
INLINE uint32_t above(Float32 a, Float32 b) {
    uint32_t bits = 0;
    UNROLL for (int i = 0; i < 4; i++) bits |= (uint32_t)(a[i] > b[i]) << i;
    return bits;
}
INLINE uint32_t are_nan(Float64 x) { return (uint32_t)(x[0] != x[0]) | (uint32_t)(x[1] != x[1]) << 1; }
INLINE uint32_t are_nan(Float32 x) {
    uint32_t bits = 0;
    UNROLL for (int i = 0; i < 4; i++) bits |= (uint32_t)(x[i] != x[i]) << i;
    return bits;
}
#endif

// Pointers need only be aligned as their numbers are.
template <class V, class T>
INLINE V load_as(const T *from) {
    V found;
    __builtin_memcpy(&found, from, sizeof found);
    return found;
}
template <class T>
INLINE Vector<T> load(const T *from) {
    return load_as<Vector<T>>(from);
}
template <class T>
INLINE Quad<T> load_quad(const T *from) {
    return load_as<Quad<T>>(from);
}
template <class V, class T>
INLINE void store(T *to, V value) {
    __builtin_memcpy(to, &value, sizeof value);
}

INLINE Quad64 widen(Quad64 x) { return x; }
INLINE Quad64 widen(Quad32 x) { return __builtin_convertvector(x, Quad64); }
template <class T>
INLINE Quad<T> rounded(Quad64 x) {
    return __builtin_convertvector(x, Quad<T>);
}
// As many numbers as a vector of float64 has.
INLINE Float64 load_wide(const double *from) { return load(from); }
INLINE Float64 load_wide(const float *from) {
    return __builtin_convertvector(load_as<HalfFloat32>(from), Float64);
}
INLINE void store_wide(double *to, Float64 x) { store(to, x); }
INLINE void store_wide(float *to, Float64 x) {
    store(to, __builtin_convertvector(x, HalfFloat32));
}

#if defined(__clang__)
#define SHUFFLED(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define OCT_SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(T, a, b, ...) __builtin_shuffle(a, b, (typename Of<T>::Order){__VA_ARGS__})
#define OCT_SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (OctOrder32){__VA_ARGS__})
#endif

INLINE Quad32 half_of(Oct32 x, int which) {
    Quad32 halves[2];
    __builtin_memcpy(halves, &x, sizeof x);
    return halves[which];
}

// The lanes of a sum, to four: lane i with the one half of all lanes further on, until four.
#if defined(__AVX512F__)
INLINE Quad64 fold(const Float64 (&sum)[PARTS]) {
    return (Quad64)_mm512_castpd512_pd256(sum[0]) + (Quad64)_mm512_extractf64x4_pd(sum[0], 1);
}
INLINE Quad32 fold(const Float32 (&sum)[PARTS]) {
    const __m512d bits = _mm512_castps_pd(sum[0]);
    const __m256 low = _mm256_castpd_ps(_mm512_castpd512_pd256(bits));
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(bits, 1));
    const __m256 half = low + high;
    return (Quad32)_mm256_castps256_ps128(half) + (Quad32)_mm256_extractf128_ps(half, 1);
}
#elif defined(__AVX2__)
INLINE Quad64 fold(const Float64 (&sum)[PARTS]) { return sum[0] + sum[1]; }
INLINE Quad32 fold(const Float32 (&sum)[PARTS]) {
    const __m256 half = sum[0] + sum[1];
    return (Quad32)_mm256_castps256_ps128(half) + (Quad32)_mm256_extractf128_ps(half, 1);
}
#else
INLINE Quad64 fold(const Float64 (&sum)[PARTS]) {
    const Float64 low = sum[0] + sum[2], high = sum[1] + sum[3];
    return Quad64{low[0], low[1], high[0], high[1]};
}
INLINE Quad32 fold(const Float32 (&sum)[PARTS]) { return (sum[0] + sum[2]) + (sum[1] + sum[3]); }
#endif

// Four times four lanes to four sums: of each (0 + 2) + (1 + 3).
template <class T>
INLINE Quad<T> quad(Quad<T> a, Quad<T> b, Quad<T> c, Quad<T> d) {
    const Quad<T> ab = SHUFFLED(T, a, b, 0, 1, 4, 5) + SHUFFLED(T, a, b, 2, 3, 6, 7);
    const Quad<T> cd = SHUFFLED(T, c, d, 0, 1, 4, 5) + SHUFFLED(T, c, d, 2, 3, 6, 7);
    return SHUFFLED(T, ab, cd, 0, 2, 4, 6) + SHUFFLED(T, ab, cd, 1, 3, 5, 7);
}
template <class V>
INLINE double total_of(const V (&sum)[PARTS]) {
    const auto x = fold(sum);
    return (double)((x[0] + x[2]) + (x[1] + x[3]));
}

// In shuffles of one instruction each, which are within 16 bytes in the first step.
INLINE void transpose(Quad64 (&x)[4]) {
    const Quad64 ab = SHUFFLED(double, x[0], x[1], 0, 4, 2, 6), AB = SHUFFLED(double, x[0], x[1], 1, 5, 3, 7);
    const Quad64 cd = SHUFFLED(double, x[2], x[3], 0, 4, 2, 6), CD = SHUFFLED(double, x[2], x[3], 1, 5, 3, 7);
    x[0] = SHUFFLED(double, ab, cd, 0, 1, 4, 5);
    x[1] = SHUFFLED(double, AB, CD, 0, 1, 4, 5);
    x[2] = SHUFFLED(double, ab, cd, 2, 3, 6, 7);
    x[3] = SHUFFLED(double, AB, CD, 2, 3, 6, 7);
}
INLINE void transpose(Quad32 (&x)[4]) {
    const Quad32 ab = SHUFFLED(float, x[0], x[1], 0, 4, 1, 5), AB = SHUFFLED(float, x[0], x[1], 2, 6, 3, 7);
    const Quad32 cd = SHUFFLED(float, x[2], x[3], 0, 4, 1, 5), CD = SHUFFLED(float, x[2], x[3], 2, 6, 3, 7);
    x[0] = SHUFFLED(float, ab, cd, 0, 1, 4, 5);
    x[1] = SHUFFLED(float, ab, cd, 2, 3, 6, 7);
    x[2] = SHUFFLED(float, AB, CD, 0, 1, 4, 5);
    x[3] = SHUFFLED(float, AB, CD, 2, 3, 6, 7);
}
// Four rows of eight: x[r] has column r in its first half, and column 4 + r in its second.
INLINE void transpose(Oct32 (&x)[4]) {
    const Oct32 ab = OCT_SHUFFLED(x[0], x[1], 0, 8, 1, 9, 4, 12, 5, 13);
    const Oct32 AB = OCT_SHUFFLED(x[0], x[1], 2, 10, 3, 11, 6, 14, 7, 15);
    const Oct32 cd = OCT_SHUFFLED(x[2], x[3], 0, 8, 1, 9, 4, 12, 5, 13);
    const Oct32 CD = OCT_SHUFFLED(x[2], x[3], 2, 10, 3, 11, 6, 14, 7, 15);
    x[0] = OCT_SHUFFLED(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13);
    x[1] = OCT_SHUFFLED(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    x[2] = OCT_SHUFFLED(AB, CD, 0, 1, 8, 9, 4, 5, 12, 13);
    x[3] = OCT_SHUFFLED(AB, CD, 2, 3, 10, 11, 6, 7, 14, 15);
}

// Exponentials of what is not above 0, to an ulp or so; below LOWEST 0 is taken, above it
// they are normal numbers. NaN stays.
//
// x = n ln 2 + r with r within half of ln 2, ln 2 in two parts, the first exact in few bits,
// so that n ln 2 cancels x exactly (Cody and Waite 1980); exp(r) by its Taylor polynomial:
// to the 12th power, which leaves less than 1.5 * 2^-53, in float32 to the 7th, less than
// 2^-27. Adding 1.5 * 2^52 rounds to an integer, and leaves it in the lowest bits.
//
// Each step is done for all B vectors before the next step begins: within one vector, a step
// would have to wait for the result of the one before it.
#define EACH UNROLL for (int b = 0; b < B; b++)
template <int B>
INLINE void exponentials(Float64 (&x)[B]) {
    const Float64 lowest = all(-708.0), shift = all(6755399441055744.0);
    Float64 value[B], shifted[B], r[B], p[B];
    EACH value[b] = x[b] < lowest ? lowest : x[b];
    EACH shifted[b] = fma(value[b], all(1.4426950408889634), shift);
    EACH {
        const Float64 n = shifted[b] - shift;
        r[b] = fma(n, all(-1.42860682030941723212e-6), fma(n, all(-6.93145751953125e-1), value[b]));
    }
    EACH p[b] = fma(r[b], all(1.0 / 479001600), all(1.0 / 39916800));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 3628800));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 362880));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 40320));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 5040));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 720));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 120));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 24));
    EACH p[b] = fma(r[b], p[b], all(1.0 / 6));
    EACH p[b] = fma(r[b], p[b], all(0.5));
    EACH p[b] = fma(r[b], p[b], all(1.0));
    EACH p[b] = fma(r[b], p[b], all(1.0));
    EACH {
        const Float64 power = (Float64)(((Bits64)shifted[b] + 1023) << 52);
        x[b] = x[b] < lowest ? all(0.0) : p[b] * power;
    }
}
template <int B>
INLINE void exponentials(Float32 (&x)[B]) {
    const Float32 lowest = all(-87.0f), shift = all(12582912.0f);
    Float32 value[B], shifted[B], r[B], p[B];
    EACH value[b] = x[b] < lowest ? lowest : x[b];
    EACH shifted[b] = fma(value[b], all(1.4426950408889634f), shift);
    EACH {
        const Float32 n = shifted[b] - shift;
        r[b] = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), value[b]));
    }
    EACH p[b] = fma(r[b], all(1.0f / 5040), all(1.0f / 720));
    EACH p[b] = fma(r[b], p[b], all(1.0f / 120));
    EACH p[b] = fma(r[b], p[b], all(1.0f / 24));
    EACH p[b] = fma(r[b], p[b], all(1.0f / 6));
    EACH p[b] = fma(r[b], p[b], all(0.5f));
    EACH p[b] = fma(r[b], p[b], all(1.0f));
    EACH p[b] = fma(r[b], p[b], all(1.0f));
    EACH {
        const Float32 power = (Float32)(((Bits32)shifted[b] + 127) << 23);
        x[b] = x[b] < lowest ? all(0.0f) : p[b] * power;
    }
}
template <class V>
INLINE V exp(V x) {
    V of[1] = {x};
    exponentials(of);
    return of[0];
}

// x = 2^n m, with m within a factor sqrt(2) of 1.
INLINE void split(Float64 x, Float64 &n, Float64 &m) {
    const Bits64 bits = (Bits64)x;
    const Bits64 mantissa = (bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000;
    // 2^52 + n + 1023 has the exponent's bits for its lowest.
    const Float64 exponent = (Float64)((bits >> 52) | 0x4330000000000000) - all(4503599627371519.0);
    const Float64 root_of_2 = all(1.4142135623730951), high = (Float64)mantissa;
    m = high > root_of_2 ? all(0.5) * high : high;
    n = high > root_of_2 ? exponent + all(1.0) : exponent;
}
// Logarithms of normal numbers above 0, to an ulp or so of 1. NaN and infinity stay.
//
// x = 2^n m; log(m) by the series of 2 artanh((m - 1) / (m + 1)), whose terms from the 21st power
// on are below 2^-56.
INLINE Float64 log(Float64 x) {
    Float64 n, m;
    split(x, n, m);
    const Float64 s = (m - all(1.0)) / (m + all(1.0)), q = s * s;
    Float64 p = fma(q, all(1.0 / 19), all(1.0 / 17));
    p = fma(q, p, all(1.0 / 15));
    p = fma(q, p, all(1.0 / 13));
    p = fma(q, p, all(1.0 / 11));
    p = fma(q, p, all(1.0 / 9));
    p = fma(q, p, all(1.0 / 7));
    p = fma(q, p, all(1.0 / 5));
    p = fma(q, p, all(1.0 / 3));
    const Float64 of_m = fma(s * q, p, s);
    const Float64 found = fma(n, all(0.6931471805599453), of_m + of_m);
    return x < all(__builtin_inf()) ? found : x;
}

// The logarithms of numbers that are at least 1, and the inverses of these numbers. A logarithm errs
// by about an ulp of 1 or of itself, whichever is larger. Infinity has the logarithm infinity and the
// inverse 0.
//
// x = 2^n m with m from 1 to 2, log(m) = log(2) / 2 + 2 artanh(s), s = (m - c) / (m + c), where c is the root
// of 2: the least coefficients of the polynomial are those of fdlibm (Sun Microsystems 1993), which
// leave 2^-58. One division serves both.
template <int B>
INLINE void logs_and_inverses(Float64 (&x)[B], Float64 (&inverse)[B]) {
    const Float64 root_of_2 = all(1.4142135623730951);
    Float64 n[B], m[B], s[B], q[B], p[B], of_both[B];
    EACH {
        const Bits64 bits = (Bits64)x[b];
        n[b] = (Float64)((bits >> 52) | 0x4330000000000000) - all(4503599627371519.0);
        m[b] = (Float64)((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000);
    }
    EACH of_both[b] = all(1.0) / (x[b] * (m[b] + root_of_2));
    EACH inverse[b] = of_both[b] * (m[b] + root_of_2);
    EACH s[b] = (m[b] - root_of_2) * (of_both[b] * x[b]);
    EACH q[b] = s[b] * s[b];
    EACH p[b] = fma(q[b], all(1.479819860511658591e-01), all(1.531383769920937332e-01));
    EACH p[b] = fma(q[b], p[b], all(1.818357216161805012e-01));
    EACH p[b] = fma(q[b], p[b], all(2.222219843214978396e-01));
    EACH p[b] = fma(q[b], p[b], all(2.857142874366239149e-01));
    EACH p[b] = fma(q[b], p[b], all(3.999999999940941908e-01));
    EACH p[b] = fma(q[b], p[b], all(6.666666666666735130e-01));
    EACH {
        const Float64 of_m = fma(s[b] * q[b], p[b], fma(s[b], all(2.0), all(0.34657359027997264)));
        const Float64 found = fma(n[b], all(0.6931471805599453), of_m);
        x[b] = x[b] < all(__builtin_inf()) ? found : x[b];
    }
}

}  // namespace
