// Rows whose values have measurement noise of their own, independent and of known variances.
//
// Of a component of mean mu and covariance V, a row has the density N(mu, T), T = V + S, and is
// expected to deviate by V h, h = inv(T) (x - mu), with a covariance of V - V inv(T) V. V is the
// same for all rows: so sums of h, of h h^T and of inv(T) tell all that there is to know.
// A missing value is one of infinite noise. Included by loops.cpp.

#pragma once

// Components of which `matrices` are covariances (n_matrices, d, d), one of all components or one
// of each, or variances (n, d); `heights` are logs of weights. `noise` has variances (rows, d).
struct Measured {
    const double *means, *matrices, *heights, *noise;
    int64_t n, n_matrices;
};

namespace {

// Some rows and their noise, feature-major.
struct MeasuredTile {
    MeasuredTile(int64_t d_, bool &failed)
        : z(d_ * stride_for<double>(FILL_LANES), failed),
          there(d_ * stride_for<double>(FILL_LANES), failed),
          noise(d_ * stride_for<double>(FILL_LANES), failed),
          base(FILL_LANES, failed),
          d(d_) {}

    static int64_t lanes_of(int64_t numbers) {
        return at_least(at_most(FILL_BYTES / (8 * numbers) / 8 * 8, FILL_LANES), 8);
    }

    template <class X>
    void load_rows(const X *x, const double *variances, int64_t n_rows, int64_t lanes_) {
        lanes = lanes_, stride = stride_for<double>(lanes);
        for (int64_t i = 0; i < lanes; i++) {  // beyond the rows the first one again
            const int64_t row = (i < n_rows ? i : 0) * d;
            for (int64_t j = 0; j < d; j++) {
                z.data[j * stride + i] = (double)x[row + j];
                noise.data[j * stride + i] = variances[row + j];
            }
        }
        zeroed(base.data, lanes);
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
                const int64_t at = j * stride + i;
                const Float64 value = load(z.data + at), zero = all(0.0), one = all(1.0);
                const Float64 is_there = value == value ? one : zero;
                store(z.data + at, value == value ? value : zero);
                store(noise.data + at, value == value ? load(noise.data + at) : zero);
                store(there.data + at, is_there);
                store(base.data + i, fma(all(-HALF_LOG_2_PI), is_there, load(base.data + i)));
            }
    }
    void load_rows(const Rows &rows, const double *variances, int64_t start, int64_t n_rows, int64_t lanes_) {
        const int64_t from = start * d;
        if (rows.is_float32)
            load_rows((const float *)rows.x + from, variances + from, n_rows, lanes_);
        else
            load_rows((const double *)rows.x + from, variances + from, n_rows, lanes_);
    }

    Float64 deviation(int64_t j, int64_t i, double mean) const {
        return (load(z.data + j * stride + i) - all(mean)) * load(there.data + j * stride + i);
    }

    Buffer<double> z, there, noise, base;
    const int64_t d;
    int64_t lanes = 0, stride = 0;
};

struct Deconvolved {
    Deconvolved(int64_t d, const Measured &of_, int64_t lanes, bool &failed)
        : tile(d, failed),
          found((of_.n_matrices * pairs(d) + of_.n * d) * stride_for<double>(lanes), failed),
          log_dets(of_.n_matrices * FILL_LANES, failed),
          total(FILL_LANES, failed),
          scratch(pairs(d), failed),
          deviations(d, FILL_LANES, failed),
          of(of_) {}

    double *inverse_of(int64_t p) const { return found.data + p * pairs(tile.d) * tile.stride; }
    double *expected_of(int64_t k) const {
        return found.data + (of.n_matrices * pairs(tile.d) + k * tile.d) * tile.stride;
    }

    // Minus inv(T); of a missing value T is 1.
    template <int64_t FIXED>
    void invert(int64_t p) {
        Float64 fixed[FIXED > 0 ? pairs(FIXED) : 1];
        Float64 *lower = FIXED > 0 ? fixed : scratch.data;
        const int64_t d = FIXED > 0 ? FIXED : tile.d, stride = tile.stride;
        const double *matrix = of.matrices + p * d * d;
        for (int64_t i = 0; i < tile.lanes; i += WIDTH<double>) {
            UNROLL for (int64_t a = 0; a < d; a++) {
                const Float64 there = load(tile.there.data + a * stride + i);
                const Float64 noise = load(tile.noise.data + a * stride + i);
                UNROLL for (int64_t b = 0; b < d; b++) {
                    if (b > a) continue;
                    const Float64 v = all(matrix[a * d + b]), own = there > all(0.0) ? v + noise : all(1.0);
                    const Float64 of_both = there * load(tile.there.data + b * stride + i);
                    lower[pairs(a) + b] = a == b ? own : v * of_both;
                }
            }
            store(log_dets.data + p * FILL_LANES + i, invert_lanes<FIXED>(lower, d));
            double *to = inverse_of(p) + i;
            for (int64_t ab = 0; ab < pairs(d); ab++) store(to + ab * stride, lower[ab]);
        }
    }
    void invert() {
        for (int64_t p = 0; p < of.n_matrices; p++) {
            if (tile.d == 2) invert<2>(p);
            if (tile.d == 3) invert<3>(p);
            if (tile.d == 4) invert<4>(p);
            if (tile.d == 5) invert<5>(p);
            if (tile.d == 6) invert<6>(p);
            if (tile.d < 2 || tile.d > 6) invert<0>(p);
        }
    }

    void densities_of(int64_t k, double *joint) {
        const int64_t p = of.n_matrices == 1 ? 0 : k, d = tile.d, stride = tile.stride;
        const double *inverse = inverse_of(p), *mean = of.means + k * d;
        double *h = expected_of(k), *v = deviations.v.data;
        for (int64_t i = 0; i < tile.lanes; i += WIDTH<double>) {
            Float64 distance = load(log_dets.data + p * FILL_LANES + i);
            for (int64_t a = 0; a < d; a++) store(v + a * stride + i, tile.deviation(a, i, mean[a]));
            for (int64_t a = 0; a < d; a++) {
                Float64 sum = all(0.0);
                for (int64_t b = 0; b <= a; b++)
                    sum = fma(load(inverse + (pairs(a) + b) * stride + i), load(v + b * stride + i), sum);
                for (int64_t b = a + 1; b < d; b++)
                    sum = fma(load(inverse + (pairs(b) + a) * stride + i), load(v + b * stride + i), sum);
                distance = fma(all(-1.0) * sum, load(v + a * stride + i), distance);
                store(h + a * stride + i, all(-1.0) * sum);
            }
            const Float64 height = all(of.heights[k]) + load(tile.base.data + i);
            store(joint + i, fma(all(-0.5), distance, height));
        }
    }

    void add_moments(int64_t k, const double *resp, double *first, double *second) {
        const double *h = expected_of(k);
        for (int64_t j = 0; j < tile.d; j++)
            for (int64_t i = 0; i < tile.lanes; i += WIDTH<double>) {
                const int64_t at = j * tile.stride + i;
                store(deviations.v.data + at, load(h + at));
                store(deviations.w.data + at, load(resp + i) * load(h + at));
            }
        deviations.width = tile.lanes, deviations.stride = tile.stride;
        deviations.add_to(first, second);
    }

    // Less the sum of inv(T) by responsibilities.
    void add_inverses(int64_t p, const double *resp, double *second) const {
        const double *inverse = inverse_of(p);
        for (int64_t a = 0; a < tile.d; a++)
            for (int64_t b = 0; b <= a; b++) {
                Float64 sum[PARTS];
                UNROLL for (int part = 0; part < PARTS; part++) sum[part] = all(0.0);
                const double *of_pair = inverse + (pairs(a) + b) * tile.stride;
                for (int64_t i = 0; i < tile.lanes; i += LANES<double>)
                    UNROLL for (int part = 0; part < PARTS; part++) {
                        const int64_t at = i + part * WIDTH<double>;
                        const Float64 r = load(resp + at) * load(tile.there.data + a * tile.stride + at);
                        sum[part] = fma(r, load(of_pair + at), sum[part]);
                    }
                second[a * tile.d + b] += total_of(sum);
            }
    }

    MeasuredTile tile;
    Buffer<double> found, log_dets, total;
    Buffer<Float64> scratch;
    Deviations<double> deviations;
    const Measured &of;
};

int add_measured_correlated(const Rows &rows, const Measured &of, const Sums &sums) {
    const int64_t d = rows.d, most = MeasuredTile::lanes_of(of.n_matrices * pairs(d) + of.n * d);
    bool failed = false;
    Deconvolved deconvolved(d, of, most, failed);
    Tile<double> tile(of.n, FILL_LANES, nullptr, failed);
    if (failed) return 1;
    double log_likelihood = 0.0;
    for (int64_t start = 0; start < rows.n; start += most) {
        const int64_t n_rows = at_most(most, rows.n - start), lanes = whole(n_rows, LANES<double>);
        deconvolved.tile.load_rows(rows, of.noise, start, n_rows, lanes);
        tile.of(lanes, n_rows, rows, start);
        deconvolved.invert();
        for (int64_t k = 0; k < of.n; k++)
            deconvolved.densities_of(k, tile.joint.data + k * tile.stride);
        tile.count_active();
        drop_zeros(tile);
        log_likelihood += tile.normalise(sums.n_k);
        double *total = zeroed(deconvolved.total.data, lanes);
        for (int64_t k = 0; k < of.n; k++) {
            const double *resp = tile.joint.data + k * tile.stride;
            double *second = sums.second + (of.n_matrices == 1 ? 0 : k) * d * d;
            if (!has_any(resp, lanes)) continue;
            deconvolved.add_moments(k, resp, sums.first + k * d, second);
            if (of.n_matrices > 1) deconvolved.add_inverses(k, resp, second);
            for (int64_t i = 0; i < lanes; i++) total[i] += resp[i];
        }
        if (of.n_matrices == 1) deconvolved.add_inverses(0, total, sums.second);
    }
    *sums.log_likelihood = log_likelihood;
    return 0;
}

// Of components without correlations, whose features are apart; second moments are (n, d).
int add_measured_separate(const Rows &rows, const Measured &of, const Sums &sums) {
    const int64_t d = rows.d, most = MeasuredTile::lanes_of(of.n * d);
    bool failed = false;
    MeasuredTile measured(d, failed);
    Buffer<double> found(of.n * d * stride_for<double>(most), failed);
    Tile<double> tile(of.n, FILL_LANES, nullptr, failed);
    if (failed) return 1;
    double log_likelihood = 0.0;
    for (int64_t start = 0; start < rows.n; start += most) {
        const int64_t n_rows = at_most(most, rows.n - start), lanes = whole(n_rows, LANES<double>);
        measured.load_rows(rows, of.noise, start, n_rows, lanes);
        tile.of(lanes, n_rows, rows, start);
        const int64_t stride = measured.stride;
        for (int64_t k = 0; k < of.n; k++) {
            double *inverses = found.data + k * d * stride;
            for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
                Float64 distance = all(0.0), exponents = all(0.0), product = all(1.0), log_det = all(0.0);
                for (int64_t j = 0; j < d; j++) {
                    const Float64 own = all(of.matrices[k * d + j]) + load(measured.noise.data + j * stride + i);
                    const Float64 is_there = load(measured.there.data + j * stride + i);
                    const Float64 width = is_there > all(0.0) ? own : all(1.0), inverse = all(1.0) / width;
                    const Float64 deviation = measured.deviation(j, i, of.means[k * d + j]);
                    distance = fma(deviation * deviation, inverse, distance);
                    store(inverses + j * stride + i, inverse * is_there);
                    Float64 exponent, mantissa;
                    split(width, exponent, mantissa);
                    exponents += exponent, product *= mantissa;
                    if (j % 16 == 15) log_det += log(product), product = all(1.0);
                }
                log_det = fma(exponents, all(0.6931471805599453), log_det + log(product));
                const Float64 height = all(of.heights[k]) + load(measured.base.data + i);
                store(tile.joint.data + k * tile.stride + i, fma(all(-0.5), distance + log_det, height));
            }
        }
        tile.count_active();
        drop_zeros(tile);
        log_likelihood += tile.normalise(sums.n_k);
        for (int64_t k = 0; k < of.n; k++) {
            const double *resp = tile.joint.data + k * tile.stride;
            if (!has_any(resp, lanes)) continue;
            for (int64_t j = 0; j < d; j++) {
                const Float64 width = all(of.matrices[k * d + j]);
                const double *inverses = found.data + (k * d + j) * stride;
                Float64 first[PARTS], second[PARTS];
                UNROLL for (int part = 0; part < PARTS; part++) first[part] = second[part] = all(0.0);
                for (int64_t i = 0; i < lanes; i += LANES<double>)
                    UNROLL for (int part = 0; part < PARTS; part++) {
                        const int64_t at = i + part * WIDTH<double>;
                        const Float64 gain = width * load(inverses + at), r = load(resp + at);
                        const Float64 expected = gain * measured.deviation(j, at, of.means[k * d + j]);
                        // V S inv(T), or V where the value is missing.
                        const Float64 noise = load(measured.noise.data + j * stride + at);
                        const Float64 absent = all(1.0) - load(measured.there.data + j * stride + at);
                        const Float64 left = fma(gain, noise, width * absent);
                        first[part] = fma(r, expected, first[part]);
                        second[part] = fma(r, fma(expected, expected, left), second[part]);
                    }
                sums.first[k * d + j] += total_of(first);
                sums.second[k * d + j] += total_of(second);
            }
        }
    }
    *sums.log_likelihood = log_likelihood;
    return 0;
}

}  // namespace
