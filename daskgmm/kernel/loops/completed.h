// The E-step of rows in which features are missing, where features are correlated.
//
// Included by loops.cpp.

#pragma once

namespace {

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

// Of rows that are grouped by how many features they lack. Returns the sum of their log densities.
double add_any(const Rows &rows, const ByPattern &by, const Correlated &of, Tile<double> &tile, Filled &filled,
               const Sums &sums) {
    const int64_t d = rows.d;
    const Rows sorted = by.sorted();
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
    return log_likelihood;
}

// As `add_any`, of rows that are grouped by their patterns.
double add_alike(const Rows &rows, const ByPattern &by, const Correlated &of, Tile<double> &tile, Alike &alike,
                 const Sums &sums) {
    const Rows sorted = by.sorted();
    double log_likelihood = 0.0;
    for (int64_t group = rows.d + 1; group < by.n_groups; group++) {
        const int64_t end = by.begins.data[group + 1];
        alike.begin(by.mask_of(group));
        for (int64_t start = by.begins.data[group]; start < end; start += FILL_LANES) {
            const int64_t n_rows = at_most(FILL_LANES, end - start), lanes = whole(n_rows, FEWEST_LANES);
            if (rows.is_float32)
                alike.load_rows((const float *)rows.x, by.order.data + start, n_rows, lanes);
            else
                alike.load_rows((const double *)rows.x, by.order.data + start, n_rows, lanes);
            tile.of(lanes, n_rows, sorted, start);
            for (int64_t k = 0; k < of.n; k++) alike.densities_of(k, tile.joint.data + k * tile.stride);
            tile.count_active();
            drop_zeros(tile);
            log_likelihood += tile.normalise(alike.n_k.data);
            for (int64_t k = 0; k < of.n; k++) {
                const double *resp = tile.joint.data + k * tile.stride;
                if (has_any(resp, lanes)) alike.add_moments(k, resp);
            }
        }
        alike.finish(sums);
    }
    return log_likelihood;
}

int add_correlated(const Rows &rows, const Correlated &of, const Sums &sums) {
    bool failed = false;
    ByPattern by(rows, failed);
    if (failed) return 1;
    Filled::Sizes most;
    for (int64_t m = 0; m <= rows.d; m++)
        if (by.begins.data[m] < by.begins.data[m + 1]) most.include(m, of);
    Filled filled(rows.d, most, of, failed);
    const bool any_alike = by.n_groups > rows.d + 1;
    Alike alike(any_alike ? rows.d : 0, of, failed);
    Tile<double> tile(of.n, FILL_LANES, nullptr, failed);
    if (failed) return 1;
    *sums.log_likelihood =
        add_any(rows, by, of, tile, filled, sums) + add_alike(rows, by, of, tile, alike, sums);
    by.write_log_densities();
    return 0;
}

}  // namespace
