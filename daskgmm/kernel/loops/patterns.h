// Rows in which the same features are missing: what is found of these is the same for all of them.
//
// Included by loops.cpp.

#pragma once

namespace {

// Patterns that are told apart: rows of any others are grouped by how many features they lack.
constexpr int64_t MOST_PATTERNS = 1024;
// Features that rows with patterns have at most: a mask has a bit for each.
constexpr int64_t MOST_MASKED = 64;

// Whether it pays to find once what all rows of a pattern share: so many rows were measured to.
INLINE bool are_many(int64_t n_rows, int64_t n_observed) {
    return n_rows >= at_least(FEWEST_LANES, n_observed * 5 / 2);
}

// The order of rows, and their weights in this order: rows of each pattern that has many rows are
// together, and the other rows are grouped by how many features they lack. Rows of a group keep their
// order.
struct ByPattern {
    ByPattern(const Rows &rows, bool &failed)
        : order(rows.n, failed),
          begins(rows.d + 2 + MOST_PATTERNS, failed),
          weight(rows.weight == nullptr ? 0 : rows.n, failed),
          log_density(rows.log_density == nullptr ? 0 : rows.n, failed),
          masks(MOST_PATTERNS, failed),
          counts(MOST_PATTERNS, failed),
          table(2 * MOST_PATTERNS, failed),
          groups(rows.n, failed),
          group_of(MOST_PATTERNS, failed),
          rows_(rows) {
        if (failed) return;
        if (rows.is_float32)
            tell_apart((const float *)rows.x);
        else
            tell_apart((const double *)rows.x);
        n_groups = rows.d + 1;
        for (int64_t pattern = 0; pattern < n_patterns; pattern++) {
            const uint64_t mask = masks.data[pattern];
            const int64_t m = __builtin_popcountll(mask);
            const bool is_alone = are_many(counts.data[pattern], rows.d - m);
            if (is_alone) masks.data[n_groups - rows.d - 1] = mask;
            group_of.data[pattern] = (int32_t)(is_alone ? n_groups++ : m);
        }
        sort();
    }

    // As they are sorted, for tiles.
    Rows sorted() const {
        return Rows{rows_.x, rows_.weight == nullptr ? nullptr : weight.data,
                    rows_.log_density == nullptr ? nullptr : log_density.data, nullptr, rows_.n,
                    rows_.d, rows_.is_float32};
    }

    void write_log_densities() const {
        for (int64_t i = 0; i < rows_.n && rows_.log_density != nullptr; i++)
            rows_.log_density[order.data[i]] = log_density.data[i];
    }

    // Groups 0 to d lack so many features, the others have a pattern each.
    uint64_t mask_of(int64_t group) const { return masks.data[group - rows_.d - 1]; }

    Buffer<int64_t> order, begins;
    Buffer<double> weight, log_density;
    int64_t n_groups = 0;

  private:
    // The group of a row is how many features it lacks, or minus 1 minus its pattern.
    template <class X>
    void tell_apart(const X *x) {
        const int64_t d = rows_.d;
        for (int64_t i = 0; i < rows_.n; i++, x += d) {
            uint64_t mask = 0;
            int64_t m = 0;
            for (int64_t j = 0; j < d; j++) {
                const bool is_missing = x[j] != x[j];
                mask |= (uint64_t)is_missing << (j % MOST_MASKED), m += is_missing;
            }
            const int64_t pattern = d <= MOST_MASKED ? pattern_of(mask) : -1;
            groups.data[i] = (int32_t)(pattern < 0 ? m : -1 - pattern);
        }
    }

    // The number of a pattern, or -1 if it is new and there are as many as can be told apart. It
    // stands in a hash table with open addressing and linear probing.
    int64_t pattern_of(uint64_t mask) {
        uint64_t place = mask * 0x9E3779B97F4A7C15u >> 40;
        for (;; place++) {
            int32_t &taken = table.data[place % (2 * MOST_PATTERNS)];
            if (taken == 0) {
                if (n_patterns == MOST_PATTERNS) return -1;
                masks.data[n_patterns] = mask;
                taken = (int32_t)++n_patterns;
            }
            if (masks.data[taken - 1] != mask) continue;
            counts.data[taken - 1]++;
            return taken - 1;
        }
    }

    void sort() {
        for (int64_t i = 0; i < rows_.n; i++) {
            int32_t &group = groups.data[i];
            if (group < 0) group = group_of.data[-1 - group];
            begins.data[group + 1]++;
        }
        for (int64_t g = 0; g < n_groups; g++) begins.data[g + 1] += begins.data[g];
        for (int64_t i = 0; i < rows_.n; i++) {
            const int64_t at = begins.data[groups.data[i]]++;
            order.data[at] = i;
            if (rows_.weight != nullptr) weight.data[at] = rows_.weight[i];
        }
        for (int64_t g = n_groups; g > 0; g--) begins.data[g] = begins.data[g - 1];
        begins.data[0] = 0;
    }

    Buffer<uint64_t> masks;
    Buffer<int64_t> counts;
    Buffer<int32_t> table, groups, group_of;
    const Rows &rows_;
    int64_t n_patterns = 0;
};

// Sums over rows of one pattern.
//
// Sweeping a precision L by the missing features m (Beaton 1964) leaves the precision of the
// observed ones o, L_oo - C L_mo with C = L_om inv(L_mm); C itself; and -inv(L_mm). Where the
// observed features deviate by v, -C^T v is expected of the missing ones, with a covariance of
// inv(L_mm): so the sums over the observed features tell those over all of them.
struct Alike {
    Alike(int64_t d_, const Correlated &of_, bool &failed)
        : swept(of_.n_precisions * d_ * d_, failed),
          own(of_.n_precisions * d_ * d_, failed),
          log_dets(of_.n_precisions, failed),
          means(of_.n * d_, failed),
          n_k(of_.n, failed),
          first(of_.n * d_, failed),
          second(of_.n * d_ * d_, failed),
          crossed(d_ * d_, failed),
          z(d_ * stride_for<double>(FILL_LANES), failed),
          product(d_ * stride_for<double>(FILL_LANES), failed),
          nothing(d_, failed),
          observed(d_, failed),
          missing(d_, failed),
          deviations(d_, FILL_LANES, failed),
          d(d_),
          of(of_) {}

    void begin(uint64_t mask) {
        p = m = 0;
        for (int64_t j = 0; j < d; j++) {
            if (mask >> j & 1)
                missing.data[m++] = j;
            else
                observed.data[p++] = j;
        }
        deviations.d = p;
        for (int64_t q = 0; q < of.n_precisions; q++) sweep(q);
        for (int64_t k = 0; k < of.n; k++)
            for (int64_t j = 0; j < p; j++) means.data[k * p + j] = of.means[k * d + observed.data[j]];
        zeroed(n_k.data, of.n), zeroed(first.data, of.n * p), zeroed(second.data, of.n * p * p);
    }

    template <class X>
    void load_rows(const X *x, const int64_t *order, int64_t n_rows, int64_t lanes_) {
        lanes = lanes_, stride = stride_for<double>(lanes);
        for (int64_t i = 0; i < lanes; i++) {  // beyond the rows the first one again
            const X *row = x + order[i < n_rows ? i : 0] * d;
            for (int64_t j = 0; j < p; j++) z.data[j * stride + i] = (double)row[observed.data[j]];
        }
    }

    int64_t precision_of(int64_t k) const { return of.n_precisions == 1 ? 0 : k; }

    void deviate(int64_t k) {
        for (int64_t j = 0; j < p; j++) {
            const Float64 mean = all(means.data[k * p + j]);
            for (int64_t i = j * stride; i < j * stride + lanes; i += WIDTH<double>)
                store(deviations.v.data + i, load(z.data + i) - mean);
        }
    }

    void densities_of(int64_t k, double *joint) {
        const int64_t q = precision_of(k);
        const double *v = deviations.v.data;
        deviate(k);
        ::densities<double>(v, lanes, p, own.data + q * d * d, p, nothing.data, product.data, p);
        const Float64 height = all(of.heights[k] + (double)m * HALF_LOG_2_PI), minus_half = all(-0.5);
        for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
            Float64 distance = all(log_dets.data[q]);
            for (int64_t j = 0; j < p; j++)
                distance = fma(load(v + j * stride + i), load(product.data + j * stride + i), distance);
            store(joint + i, fma(minus_half, distance, height));
        }
    }

    void add_moments(int64_t k, const double *resp) {
        double *v = deviations.v.data, *w = deviations.w.data;
        for (int64_t j = 0; j < p; j++) {
            const Float64 mean = all(means.data[k * p + j]);
            for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
                const Float64 deviation = load(z.data + j * stride + i) - mean;
                store(v + j * stride + i, deviation), store(w + j * stride + i, load(resp + i) * deviation);
            }
        }
        deviations.width = lanes, deviations.stride = stride;
        deviations.add_to(first.data + k * p, second.data + k * p * p);
    }

    // The sums of a pattern's rows, of all features.
    void finish(const Sums &sums) {
        for (int64_t k = 0; k < of.n; k++) {
            if (n_k.data[k] == 0.0) continue;
            sums.n_k[k] += n_k.data[k];
            lift(k, sums.first + k * d, sums.second + precision_of(k) * d * d);
        }
    }

    Buffer<double> swept, own, log_dets, means, n_k, first, second, crossed, z, product, nothing;
    Buffer<int64_t> observed, missing;
    Deviations<double> deviations;
    const int64_t d;
    const Correlated &of;
    int64_t lanes = 0, stride = 0, p = 0, m = 0;

  private:
    void sweep(int64_t q) {
        double *s = swept.data + q * d * d, log_det = 0.0;
        for (int64_t ij = 0; ij < d * d; ij++) s[ij] = of.precisions[q * d * d + ij];
        for (int64_t a = 0; a < m; a++) {
            const int64_t pivot = missing.data[a];
            double *row = s + pivot * d;
            const double inverse = 1.0 / row[pivot];
            log_det += log(all(row[pivot]))[0];
            for (int64_t i = 0; i < d; i++) {
                const double c = -inverse * s[i * d + pivot];
                if (i == pivot) continue;
                for (int64_t j = 0; j < d; j++)
                    if (j != pivot) s[i * d + j] = __builtin_fma(c, row[j], s[i * d + j]);
            }
            for (int64_t i = 0; i < d; i++) s[i * d + pivot] = row[i] = row[i] * inverse;
            row[pivot] = -inverse;
        }
        log_dets.data[q] = log_det;
        for (int64_t i = 0; i < p; i++)
            for (int64_t j = 0; j < p; j++)
                own.data[q * d * d + i * p + j] = s[observed.data[i] * d + observed.data[j]];
    }

    void lift(int64_t k, double *to_first, double *to_second) {
        const double *s = swept.data + precision_of(k) * d * d, *of_first = first.data + k * p;
        const double *of_second = second.data + k * p * p;
        for (int64_t i = 0; i < p; i++) {
            to_first[observed.data[i]] += of_first[i];
            for (int64_t j = 0; j <= i; j++)
                to_second[observed.data[i] * d + observed.data[j]] += of_second[i * p + j];
        }
        for (int64_t a = 0; a < m; a++) {
            const int64_t row = missing.data[a];
            const double *c = s + row * d;
            double *cross = crossed.data + a * p, expected = 0.0;
            for (int64_t i = 0; i < p; i++) {
                double sum = 0.0;
                for (int64_t j = 0; j < p; j++) {
                    const double moment = of_second[i >= j ? i * p + j : j * p + i];
                    sum = __builtin_fma(-c[observed.data[j]], moment, sum);
                }
                cross[i] = sum;
                expected = __builtin_fma(-c[observed.data[i]], of_first[i], expected);
                const int64_t column = observed.data[i];
                to_second[row > column ? row * d + column : column * d + row] += sum;
            }
            to_first[row] += expected;
            for (int64_t b = 0; b <= a; b++) {
                const int64_t column = missing.data[b];
                double sum = -n_k.data[k] * c[column];
                for (int64_t i = 0; i < p; i++)
                    sum = __builtin_fma(-s[column * d + observed.data[i]], cross[i], sum);
                to_second[row * d + column] += sum;
            }
        }
    }
};

}  // namespace
