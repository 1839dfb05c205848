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

// NaN is rare: lanes full of numbers are passed over at once.
template <class T>
int find_gaps(const Rows &rows, const Gaps &found) {
    const T *x = (const T *)rows.x;
    const int64_t d = rows.d, size = rows.n * d, in_lanes = size - size % WIDTH<T>;
    constexpr uint32_t EVERY = (uint32_t)((1ull << WIDTH<T>) - 1);
    const Vector<T> lowest = all((T)-__builtin_inf());
    int64_t n = 0, end = 0;  // of the last row that was found
    for (int64_t i = 0; i < size; i += WIDTH<T>) {
        uint32_t odd = EVERY;  // lanes that may be NaN
        if (i < in_lanes) odd &= ~above(load(x + i), lowest);
        if (i >= in_lanes) odd &= (1u << (size - i)) - 1u;
        while (odd != 0) {
            const int64_t j = i + __builtin_ctz(odd);
            odd &= odd - 1;
            if (j < end || x[j] == x[j]) continue;
            const int64_t row = (int64_t)((uint64_t)j / (uint64_t)d);
            int64_t count = 0;
            end = (row + 1) * d;
            for (int64_t of = row * d; of < end; of++) count += x[of] != x[of];
            found.rows[n] = row, found.n_missing[n] = count, n++;
        }
    }
    *found.n = n;
    return 0;
}

INLINE int64_t count_missing(const Rows &rows, int64_t row) {
    const float *of_float32 = (const float *)rows.x + row * rows.d;
    const double *of_float64 = (const double *)rows.x + row * rows.d;
    int64_t count = 0;
    if (rows.is_float32)
        for (int64_t j = 0; j < rows.d; j++) count += of_float32[j] != of_float32[j];
    else
        for (int64_t j = 0; j < rows.d; j++) count += of_float64[j] != of_float64[j];
    return count;
}

// Rows by how many features they lack, stably, with their weights.
struct ByMissing {
    ByMissing(const Rows &rows, bool &failed)
        : order(rows.n, failed),
          begins(rows.d + 2, failed),
          weight(rows.weight == nullptr ? 0 : rows.n, failed),
          log_density(rows.log_density == nullptr ? 0 : rows.n, failed),
          counts(rows.n, failed),
          of(rows) {
        if (failed) return;
        for (int64_t i = 0; i < rows.n; i++) {
            counts.data[i] = (int32_t)count_missing(rows, i);
            begins.data[counts.data[i] + 1]++;
        }
        for (int64_t m = 0; m <= rows.d; m++) begins.data[m + 1] += begins.data[m];
        for (int64_t i = 0; i < rows.n; i++) {
            const int64_t at = begins.data[counts.data[i]]++;
            order.data[at] = i;
            if (rows.weight != nullptr) weight.data[at] = rows.weight[i];
        }
        for (int64_t m = rows.d + 1; m > 0; m--) begins.data[m] = begins.data[m - 1];
        begins.data[0] = 0;
    }

    // As they are sorted, for tiles.
    Rows sorted() const {
        return Rows{of.x, of.weight == nullptr ? nullptr : weight.data,
                    of.log_density == nullptr ? nullptr : log_density.data, of.n, of.d, of.is_float32};
    }

    void write_log_densities() const {
        for (int64_t i = 0; i < of.n && of.log_density != nullptr; i++)
            of.log_density[order.data[i]] = log_density.data[i];
    }

    Buffer<int64_t> order, begins;
    Buffer<double> weight, log_density;
    Buffer<int32_t> counts;
    const Rows &of;
};

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
