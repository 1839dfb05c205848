// Rows in which features are missing: which they are, and the E-step given the others.
//
// Included by loops.cpp, whose tiles these loops work on.

#pragma once

// Rows with gaps, ascending, and how many of their features are missing.
struct Gaps {
    int64_t *rows, *n_missing, *n;
};

// Components of which any features of a row may be missing. `precisions` are (n_precisions, d, d),
// one of all components or one of each; `heights` are logs of weighted densities at the means.
struct Correlated {
    const double *means, *precisions, *heights;
    int64_t n, n_precisions;
};

// Components without correlations: coefficients (n, 3 d) of squares of z = x - centre, of z, and
// of 1 where a feature is there, for which those that are missing count as 0; and constants (n,).
struct Separate {
    const double *centre, *coefficients, *constant;
    int64_t n;
};

namespace {

constexpr double HALF_LOG_2_PI = 0.9189385332046727;
constexpr int64_t FILL_LANES = 128, FEWEST_LANES = 16;  // of which `densities` takes multiples
constexpr int64_t FILL_BYTES = 1 << 18;  // of what is found for a tile, in the second cache

INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr INLINE int64_t pairs(int64_t m) { return m * (m + 1) / 2; }

// Which of 64 numbers, or of `n` where there are fewer, are NaN.
template <class T>
INLINE uint64_t missing_of(const T *x, int64_t n) {
    uint64_t missing = 0;
    if (n >= 64)
        UNROLL for (int64_t i = 0; i < 64; i += WIDTH<T>) missing |= (uint64_t)are_nan(load(x + i)) << i;
    else
        for (int64_t i = 0; i < n; i++) missing |= (uint64_t)(x[i] != x[i]) << i;
    return missing;
}

// Numbers are looked at 64 at a time, since a processor guesses badly which of them are missing.
template <class T>
int find_gaps(const Rows &rows, const Gaps &found) {
    const T *x = (const T *)rows.x;
    const int64_t d = rows.d, size = rows.n * d;
    int64_t n = 0, last = -1, count = 0;
    for (int64_t start = 0; start < size; start += 64) {
        uint64_t missing = missing_of(x + start, size - start);
        while (missing != 0) {
            const int64_t row = (int64_t)((uint64_t)(start + __builtin_ctzll(missing)) / (uint64_t)d);
            const int64_t end = (row + 1) * d - start;
            const uint64_t of_row = end < 64 ? missing & ((1ull << end) - 1) : missing;
            // A row that began among the 64 values before these is counted again, with both its parts.
            count = __builtin_popcountll(of_row) + (row == last ? count : 0);
            n += row != last, last = row;
            found.rows[n - 1] = row, found.n_missing[n - 1] = count;
            missing ^= of_row;
        }
    }
    *found.n = n;
    return 0;
}

// Numbers at `place`, one of each lane.
INLINE Float64 gather(const double *from, const int64_t *place) {
    Float64 found;
    UNROLL for (int64_t i = 0; i < WIDTH<double>; i++) found[i] = from[place[i]];
    return found;
}

// Turns a matrix (m, m) of each lane, of which there is the lower triangle row by row, into minus
// its inverse, by sweeping one pivot after the other (Beaton 1964). Returns the log of its
// determinant.
template <int64_t FIXED>
INLINE Float64 invert_lanes(Float64 *lower, int64_t m_) {
    const int64_t m = FIXED > 0 ? FIXED : m_;
    Float64 exponents = all(0.0), product = all(1.0), log_det = all(0.0);
    UNROLL for (int64_t p = 0; p < m; p++) {
        const Float64 pivot = lower[pairs(p) + p], inverse = all(1.0) / pivot;
        const Float64 negative = all(-1.0) * inverse;
        Float64 exponent, mantissa;  // of products these neither overflow nor lose digits
        split(pivot, exponent, mantissa);
        exponents += exponent, product *= mantissa;
        if (p % 16 == 15) log_det += log(product), product = all(1.0);
        UNROLL for (int64_t i = 0; i < m; i++) {
            if (i == p) continue;
            const Float64 c = negative * lower[i > p ? pairs(i) + p : pairs(p) + i];
            UNROLL for (int64_t j = 0; j <= i; j++) {
                if (j == p) continue;
                const Float64 of_j = lower[j > p ? pairs(j) + p : pairs(p) + j];
                lower[pairs(i) + j] = fma(c, of_j, lower[pairs(i) + j]);
            }
        }
        UNROLL for (int64_t i = 0; i < m; i++) {
            const int64_t at = i > p ? pairs(i) + p : pairs(p) + i;
            lower[at] = i == p ? negative : lower[at] * inverse;
        }
    }
    return fma(exponents, all(0.6931471805599453), log_det + log(product));
}

// Log densities that are zero to rounding become zero: what they are of need not be added.
INLINE void drop_zeros(Tile<double> &tile) {
    const Float64 nothing = all(-__builtin_inf());
    for (int64_t k = 0; k < tile.n; k++)
        for (int64_t i = 0; i < tile.lanes; i += WIDTH<double>) {
            double *at = tile.joint.data + k * tile.stride + i;
            const Float64 here = load(at), least = load(tile.largest.data + i) + all(ZERO);
            store(at, here < least ? nothing : here);
        }
}

INLINE bool has_any(const double *resp, int64_t n) {
    double most = 0.0;
    for (int64_t i = 0; i < n; i++) most = resp[i] > most ? resp[i] : most;
    return most > 0.0;
}

// Of z as it was loaded: squares, z itself and 1 where there is a number, 0 where there is none.
template <class T>
INLINE void split_features(T *phi, int64_t d, int64_t lanes) {
    const int64_t size = d * stride_for<T>(lanes);
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = j * stride_for<T>(lanes); i < j * stride_for<T>(lanes) + lanes; i += WIDTH<T>) {
            const Vector<T> z = load(phi + size + i), zero = all((T)0);
            const Vector<T> value = z == z ? z : zero;
            store(phi + i, value * value), store(phi + size + i, value);
            store(phi + 2 * size + i, z == z ? all((T)1) : zero);
        }
}

int add_separate(const Rows &rows, const Separate &of, const Sums &sums) {
    using T = double;
    const int64_t d = rows.d, n = of.n, n_terms = 3 * d, padded = whole(n_terms, 8);
    const int64_t lanes = lanes_for(rows.n, FILL_LANES), stride = stride_for<T>(lanes);
    bool failed = false;
    Buffer<T> phi(padded * stride, failed), by_row(lanes * padded, failed);
    Buffer<T> theta(n * padded, failed);
    Buffer<double> partial(whole(n, 4) * padded, failed), ones(d, failed);
    Tile<T> tile(n, lanes, nullptr, failed);
    if (failed) return 1;
    for (int64_t j = 0; j < d; j++) ones.data[j] = 1.0;
    for (int64_t k = 0; k < n; k++)
        for (int64_t p = 0; p < n_terms; p++) theta.data[k * padded + p] = of.coefficients[k * n_terms + p];
    double log_likelihood = 0.0;
    for (int64_t start = 0; start < rows.n; start += lanes) {
        const int64_t n_rows = load_rows(rows, start, rows.n, Scaling{of.centre, ones.data},
                                         phi.data + d * stride, lanes);
        tile.of(lanes, n_rows, rows, start);
        split_features(phi.data, d, lanes);
        densities(phi.data, lanes, n_terms, theta.data, padded, of.constant, tile.joint.data, n);
        if (tile.listing_pays(n_terms)) {
            tile.list_active();
            log_likelihood += tile.normalise_listed(sums.n_k);
            add_listed_sums(phi.data, n_terms, tile, by_row.data, partial.data, padded);
        } else {
            log_likelihood += tile.normalise(sums.n_k);
            add_sums(phi.data, n_terms, tile.joint.data, n, lanes, partial.data, padded);
        }
    }
    for (int64_t k = 0; k < n; k++)
        for (int64_t p = 0; p < n_terms; p++) sums.first[k * n_terms + p] += partial.data[k * padded + p];
    *sums.log_likelihood = log_likelihood;
    return 0;
}

}  // namespace
