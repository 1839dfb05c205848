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

// Rows of a tile that lack as many features, and what the components expect these to be.
//
// With L a precision, v the deviations of the observed features, 0 elsewhere, and m the missing
// ones, e = -inv(L_mm) (L v)_m is expected of these, and v.L v + e.(L v)_m is the squared distance
// of the observed ones.
struct Filled {
    // What a tile needs at most.
    struct Sizes {
        int64_t missing = 0, found = 0, places = 0;
        void include(int64_t n_missing, const Correlated &of) {
            const int64_t lanes = lanes_of(n_missing, of), n_pairs = pairs(n_missing);
            const int64_t of_lane = of.n_precisions * n_pairs + of.n * n_missing;
            missing = at_least(missing, n_missing);
            found = at_least(found, of_lane * stride_for<double>(lanes));
            places = at_least(places, n_pairs * lanes);
        }
    };

    Filled(int64_t d_, const Sizes &most, const Correlated &of_, bool &failed)
        : z(d_ * stride_for<double>(FILL_LANES), failed),
          there(d_ * stride_for<double>(FILL_LANES), failed),
          product(d_ * stride_for<double>(FILL_LANES), failed),
          picked(most.missing * stride_for<double>(FILL_LANES), failed),
          nothing(d_, failed),
          log_dets(of_.n_precisions * FILL_LANES, failed),
          total(FILL_LANES, failed),
          found(most.found, failed),
          missing((most.missing + 1) * FILL_LANES, failed),
          at((most.missing + 1) * FILL_LANES, failed),
          places(most.places, failed),
          listed(FILL_LANES + 1, failed),
          scratch(pairs(most.missing), failed),
          deviations(d_, FILL_LANES, failed),
          d(d_),
          of(of_) {}

    // Rows for a tile of which so many features are missing.
    static int64_t lanes_of(int64_t n_missing, const Correlated &of) {
        const int64_t bytes = 8 * (of.n_precisions * pairs(n_missing) + of.n * n_missing);
        const int64_t most = bytes == 0 ? FILL_LANES : FILL_BYTES / bytes / FEWEST_LANES * FEWEST_LANES;
        return at_least(at_most(most, FILL_LANES), FEWEST_LANES);
    }

    template <class X>
    void load_rows(const X *x, const int64_t *order, int64_t n_rows, int64_t lanes_, int64_t n_missing) {
        lanes = lanes_, stride = stride_for<double>(lanes), m = n_missing;
        expected = found.data + of.n_precisions * pairs(m) * stride;
        for (int64_t i = 0; i < lanes; i++) {  // beyond the rows the first one again
            const X *row = x + order[i < n_rows ? i : 0] * d;
            int64_t a = 0;  // each feature is written as the next that is missing, until one is
            for (int64_t j = 0; j < d; j++) {
                z.data[j * stride + i] = (double)row[j];
                missing.data[a * lanes + i] = j;
                at.data[a * lanes + i] = j * stride + i;
                a += row[j] != row[j];
            }
        }
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = j * stride; i < j * stride + lanes; i += WIDTH<double>) {
                const Float64 value = load(z.data + i), zero = all(0.0);
                store(z.data + i, value == value ? value : zero);
                store(there.data + i, value == value ? all(1.0) : zero);
            }
        const Bits64 n_columns = Bits64{} + (uint64_t)d;
        for (int64_t a = 0; a < m; a++)
            for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
                const Bits64 row = load_as<Bits64>(missing.data + a * lanes + i) * n_columns;
                for (int64_t b = 0; b <= a; b++)
                    store(places.data + (pairs(a) + b) * lanes + i,
                          row + load_as<Bits64>(missing.data + b * lanes + i));
            }
    }

    // Minus the covariances that are left of the missing features, by a precision.
    template <int64_t FIXED>
    void find_left(int64_t p) {
        Float64 fixed[FIXED > 0 ? pairs(FIXED) : 1];
        Float64 *lower = FIXED > 0 ? fixed : scratch.data;
        const int64_t n_pairs = FIXED > 0 ? pairs(FIXED) : pairs(m);
        double *to = found.data + p * n_pairs * stride;
        for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
            UNROLL for (int64_t ab = 0; ab < n_pairs; ab++)
                lower[ab] = gather(of.precisions + p * d * d, places.data + ab * lanes + i);
            store(log_dets.data + p * FILL_LANES + i, invert_lanes<FIXED>(lower, m));
            UNROLL for (int64_t ab = 0; ab < n_pairs; ab++) store(to + ab * stride + i, lower[ab]);
        }
    }
    void find_left() {
        for (int64_t p = 0; p < of.n_precisions; p++) {
            if (m == 1) find_left<1>(p);
            if (m == 2) find_left<2>(p);
            if (m == 3) find_left<3>(p);
            if (m == 4) find_left<4>(p);
            if (m == 5) find_left<5>(p);
            if (m == 6) find_left<6>(p);
            if (m < 1 || m > 6) find_left<0>(p);
        }
    }

    int64_t precision_of(int64_t k) const { return of.n_precisions == 1 ? 0 : k; }
    const double *left_of(int64_t p) const { return found.data + p * pairs(m) * stride; }

    void deviate(int64_t k) {
        for (int64_t j = 0; j < d; j++) {
            const Float64 mean = all(of.means[k * d + j]);
            for (int64_t i = j * stride; i < j * stride + lanes; i += WIDTH<double>)
                store(deviations.v.data + i, (load(z.data + i) - mean) * load(there.data + i));
        }
    }

    // Log densities of what is observed, and what is expected of the rest, under one component.
    void densities_of(int64_t k, double *joint) {
        const int64_t p = precision_of(k);
        const double *left = left_of(p), *v = deviations.v.data;
        double *to = expected + k * m * stride;
        deviate(k);
        densities<double>(v, lanes, d, of.precisions + p * d * d, d, nothing.data, product.data, d);
        const Float64 height = all(of.heights[k] + (double)m * HALF_LOG_2_PI), minus_half = all(-0.5);
        for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
            Float64 distance = load(log_dets.data + p * FILL_LANES + i);
            for (int64_t j = 0; j < d; j++)
                distance = fma(load(v + j * stride + i), load(product.data + j * stride + i), distance);
            for (int64_t a = 0; a < m; a++)
                store(picked.data + a * stride + i, gather(product.data, at.data + a * lanes + i));
            for (int64_t a = 0; a < m; a++) {
                Float64 e = all(0.0);
                for (int64_t b = 0; b < m; b++) {
                    const int64_t ab = b <= a ? pairs(a) + b : pairs(b) + a;
                    e = fma(load(left + ab * stride + i), load(picked.data + b * stride + i), e);
                }
                store(to + a * stride + i, e);
                distance = fma(e, load(picked.data + a * stride + i), distance);
            }
            store(joint + i, fma(minus_half, distance, height));
        }
    }

    // Rows whose responsibilities are not 0; returns how many.
    int64_t list(const double *resp) {
        int64_t count = 0;
        for (int64_t i = 0; i < lanes; i++) {
            listed.data[count] = i;
            count += resp[i] > 0.0;
        }
        return count;
    }

    // Moments about the mean of one component, by responsibilities.
    void add_moments(int64_t k, const double *resp, double *first, double *second) {
        const double *e = expected + k * m * stride;
        double *v = deviations.v.data, *w = deviations.w.data;
        deviate(k);
        for (int64_t a = 0; a < m; a++)
            for (int64_t i = 0; i < lanes; i += 8)
                UNROLL for (int64_t j = i; j < i + 8; j++) v[at.data[a * lanes + j]] = e[a * stride + j];
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i < lanes; i += WIDTH<double>)
                store(w + j * stride + i, load(resp + i) * load(v + j * stride + i));
        deviations.width = lanes, deviations.stride = stride;
        deviations.add_to(first, second);
    }

    // As `add_moments`, and `add_left`, of the rows that are listed.
    void add_listed(int64_t k, const double *resp, int64_t count, double *first, double *second) {
        const double *e = expected + k * m * stride;
        const int64_t width = whole(count, LANES<double>), to = stride_for<double>(width);
        double *v = deviations.v.data, *w = deviations.w.data;
        for (int64_t j = 0; j < d; j++) {
            const double mean = of.means[k * d + j];
            for (int64_t t = 0; t < count; t++) v[j * to + t] = z.data[j * stride + listed.data[t]] - mean;
            for (int64_t t = count; t < width; t++) v[j * to + t] = w[j * to + t] = 0.0;
        }
        for (int64_t a = 0; a < m; a++)
            for (int64_t t = 0; t < count; t++) {
                const int64_t i = listed.data[t];
                v[missing.data[a * lanes + i] * to + t] = e[a * stride + i];
            }
        for (int64_t j = 0; j < d; j++)
            for (int64_t t = 0; t < count; t++) w[j * to + t] = resp[listed.data[t]] * v[j * to + t];
        deviations.width = width, deviations.stride = to;
        deviations.add_to(first, second);
        if (of.n_precisions == 1) return;  // its own is added for all components at once
        const double *left = left_of(k);
        for (int64_t t = 0; t < count; t++) {
            const int64_t i = listed.data[t];
            for (int64_t ab = 0; ab < pairs(m); ab++)
                second[places.data[ab * lanes + i]] -= resp[i] * left[ab * stride + i];
        }
    }

    // What is left of the missing features, by responsibilities.
    void add_left(int64_t p, const double *resp, double *second) const {
        const double *left = left_of(p);
        for (int64_t i = 0; i < lanes; i += 8)  // of one place, a sum waits for the one before
            for (int64_t ab = 0; ab < pairs(m); ab++) {
                const int64_t *place = places.data + ab * lanes + i;
                double of_lanes[8];
                for (int64_t j = 0; j < 8; j += WIDTH<double>)
                    store(of_lanes + j, load(resp + i + j) * load(left + ab * stride + i + j));
                UNROLL for (int64_t j = 0; j < 8; j++) second[place[j]] -= of_lanes[j];
            }
    }

    Buffer<double> z, there, product, picked, nothing, log_dets, total, found;
    Buffer<int64_t> missing, at, places, listed;
    Buffer<Float64> scratch;
    Deviations<double> deviations;
    const int64_t d;
    const Correlated &of;
    double *expected = nullptr;
    int64_t lanes = 0, stride = 0, m = 0;
};

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

int add_correlated(const Rows &rows, const Correlated &of, const Sums &sums) {
    const int64_t d = rows.d;
    bool failed = false;
    ByMissing by(rows, failed);
    if (failed) return 1;
    Filled::Sizes most;
    for (int64_t m = 0; m <= d; m++)
        if (by.begins.data[m] < by.begins.data[m + 1]) most.include(m, of);
    const Rows sorted = by.sorted();
    Filled filled(d, most, of, failed);
    Tile<double> tile(of.n, FILL_LANES, nullptr, failed);
    if (failed) return 1;
    double log_likelihood = 0.0;
    for (int64_t m = 0; m <= d; m++) {
        const int64_t end = by.begins.data[m + 1], at_once = Filled::lanes_of(m, of);
        for (int64_t start = by.begins.data[m]; start < end; start += at_once) {
            const int64_t n_rows = at_most(at_once, end - start), lanes = whole(n_rows, FEWEST_LANES);
            if (rows.is_float32)
                filled.load_rows((const float *)rows.x, by.order.data + start, n_rows, lanes, m);
            else
                filled.load_rows((const double *)rows.x, by.order.data + start, n_rows, lanes, m);
            tile.of(lanes, n_rows, sorted, start);
            filled.find_left();
            for (int64_t k = 0; k < of.n; k++) filled.densities_of(k, tile.joint.data + k * tile.stride);
            tile.count_active();
            drop_zeros(tile);
            log_likelihood += tile.normalise(sums.n_k);
            double *total = zeroed(filled.total.data, lanes);
            for (int64_t k = 0; k < of.n; k++) {
                const double *resp = tile.joint.data + k * tile.stride;
                double *first = sums.first + k * d, *second = sums.second + filled.precision_of(k) * d * d;
                const int64_t count = filled.list(resp);
                if (2 * count <= lanes) {
                    if (count > 0) filled.add_listed(k, resp, count, first, second);
                } else {
                    filled.add_moments(k, resp, first, second);
                    if (of.n_precisions > 1) filled.add_left(k, resp, second);
                }
                for (int64_t i = 0; i < lanes; i++) total[i] += resp[i];
            }
            if (of.n_precisions == 1) filled.add_left(0, total, sums.second);
        }
    }
    by.write_log_densities();
    *sums.log_likelihood = log_likelihood;
    return 0;
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
