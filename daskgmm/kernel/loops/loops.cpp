// The E-step, and the moments of a scan, as loops over rows.
//
// Rows are taken a tile at a time, feature-major, so that products, densities and
// responsibilities never leave the first caches and every inner loop runs along the rows of a
// tile, in vector registers. Each loop works in the type of the coefficients that it is given;
// what it adds to is float64. Nothing is contracted, reordered or taken from a mathematical
// library by the compiler, so that the bits do not depend on it: see vectors.h.
//
// What is exported is plain functions over pointers; loops/__init__.py has their shapes.
// One file, though it is long: it is compiled once for each instruction set.

#include "vectors.h"

#include <stdlib.h>

namespace {

// Memory that is zero at first. `failed` is set where there is none.
template <class T>
class Buffer {
  public:
    Buffer(int64_t size, bool &failed) : memory_(calloc((size_t)size * sizeof(T) + 64, 1)) {
        if (memory_ == nullptr) failed = true;
        data = (T *)(((uintptr_t)memory_ + 63) & ~(uintptr_t)63);
    }
    ~Buffer() { free(memory_); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    T *data;

  private:
    void *memory_;
};

INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t whole(int64_t n, int64_t of) { return (n + of - 1) / of * of; }
template <class T>
INLINE T *zeroed(T *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = 0;
    return x;
}

constexpr int64_t TILE_ROWS = 32;  // a tile has a multiple of them

// Rows of a tile, for as many as a cell has: tiles that are alike, and hold no more than `most`.
INLINE int64_t lanes_for(int64_t n_rows, int64_t most) {
    const int64_t n_tiles = (n_rows + most - 1) / most;
    return whole((n_rows + n_tiles - 1) / n_tiles, TILE_ROWS);
}

// From a feature of a tile to the next: not a multiple of many cache lines, which would share
// a cache set.
template <class T>
INLINE int64_t stride_for(int64_t lanes) {
    return lanes + LANES<T>;
}

struct Scaling {
    const double *centre, *inverse_scale;
};

// Where the i-th row begins: of all rows, or of those that are picked by their indices.
template <class X>
struct InOrder {
    const X *x;
    int64_t d;
    inline __attribute__((always_inline)) const X *operator()(int64_t i) const { return x + i * d; }
};
template <class X>
struct Picked {
    const X *x;
    const int64_t *rows;
    int64_t d;
    inline __attribute__((always_inline)) const X *operator()(int64_t i) const { return x + rows[i] * d; }
};

// Eight features of four rows, from feature `first` on, as `load_tile` has them.
template <class X>
INLINE void load_eight(const X *const (&row)[4], Scaling by, int64_t first, float *z, int64_t stride) {
    const Oct64 centre = load_as<Oct64>(by.centre + first), scale = load_as<Oct64>(by.inverse_scale + first);
    Oct32 rows[4];
    UNROLL for (int r = 0; r < 4; r++) {
        const Oct64 wide = __builtin_convertvector(load_as<Oct<X>>(row[r] + first), Oct64);
        rows[r] = __builtin_convertvector((wide - centre) * scale, Oct32);
    }
    transpose(rows);
    UNROLL for (int r = 0; r < 8; r++) store(z + r * stride, half_of(rows[r % 4], r / 4));
}

// z = (x - centre) * inverse_scale of some rows, feature-major.
//
// In float64 until it is stored: a centre far away must not cost a float32 tile its digits.
// Rows of the next tile are asked for meanwhile: they come to the second cache while this tile is worked
// on. Beyond the last tile nothing is read, and asking does no harm.
template <class X, class T, template <class> class Places>
INLINE void load_tile(Places<X> at, int64_t n_rows, int64_t d, Scaling by, T *z, int64_t stride) {
    const int64_t in_fours = n_rows - n_rows % 4, features = d - d % 4;
    for (int64_t i = 0; i < in_fours; i += 4) {
        const X *const row[4] = {at(i), at(i + 1), at(i + 2), at(i + 3)};
        for (int64_t j = 0; j < 4 * d; j += 64 / (int64_t)sizeof(X))
            __builtin_prefetch(row[0] + n_rows * d + j, 0, 2);
        int64_t j = 0;
        if constexpr (sizeof(T) == sizeof(float))
            for (; j + 8 <= d; j += 8) load_eight(row, by, j, z + j * stride + i, stride);
        for (; j < features; j += 4) {
            const Quad64 centre = load_quad(by.centre + j), scale = load_quad(by.inverse_scale + j);
            Quad<T> four[4];
            UNROLL for (int r = 0; r < 4; r++)
                four[r] = rounded<T>((widen(load_quad(row[r] + j)) - centre) * scale);
            transpose(four);
            UNROLL for (int r = 0; r < 4; r++) store(z + (j + r) * stride + i, four[r]);
        }
        for (; j < d; j++) {
            const Quad<X> four{row[0][j], row[1][j], row[2][j], row[3][j]};
            store(z + j * stride + i, rounded<T>((widen(four) - by.centre[j]) * by.inverse_scale[j]));
        }
    }
    for (int64_t i = in_fours; i < n_rows; i++)
        for (int64_t j = 0; j < d; j++)
            z[j * stride + i] = (T)(((double)at(i)[j] - by.centre[j]) * by.inverse_scale[j]);
}

}  // namespace

// What callers pass. `weight` is null where every row counts once, `log_density` where the log
// densities of the rows are not asked for, `noise` where there is none: one more log density, the
// same for every row. The `n_second` terms of second order are the products, or their sum. `tails` is null for Gaussians; of t components it has TAIL numbers for each,
// and log densities are `-delta / 2`, without heights.
// `picked` is null where all rows of x count; else it has the indices of n of them, and weights and log
// densities are of these alone.
struct Rows {
    const void *x;
    const double *weight;
    double *log_density;
    const int64_t *picked;
    int64_t n, d, is_float32;
};
struct Cells {
    const int64_t *row_bounds, *candidates;
    int64_t n, n_chosen;
};
struct Natural {
    const double *centre, *inverse_scale;
    const int64_t *first_of, *second_of;
    const void *coefficients, *constant;
    const double *noise, *tails;
    int64_t n_components, n_products, n_second;
};
struct Whitened {
    const double *centre, *inverse_scale;
    const void *means, *factors, *shifts, *heights;
    const double *noise, *tails;
};
struct Sums {
    double *log_likelihood, *n_k, *first, *second, *n_u, *tails;
};

namespace {

template <class X, class T>
INLINE void load_rows_of(const Rows &rows, int64_t start, int64_t n_rows, Scaling by, T *z, int64_t stride) {
    const X *x = (const X *)rows.x;
    if (rows.picked == nullptr)
        load_tile(InOrder<X>{x + start * rows.d, rows.d}, n_rows, rows.d, by, z, stride);
    else
        load_tile(Picked<X>{x, rows.picked + start, rows.d}, n_rows, rows.d, by, z, stride);
}

// Fill a tile with rows `start:stop`, if it can; returns how many there were.
template <class T>
INLINE int64_t load_rows(const Rows &rows, int64_t start, int64_t stop, Scaling by, T *z, int64_t lanes) {
    const int64_t n_rows = at_most(lanes, stop - start);
    for (int64_t i = 0; rows.weight != nullptr && i < n_rows; i += 64 / (int64_t)sizeof(double))
        __builtin_prefetch(rows.weight + start + n_rows + i, 0, 2);
    if (rows.is_float32)
        load_rows_of<float>(rows, start, n_rows, by, z, stride_for<T>(lanes));
    else
        load_rows_of<double>(rows, start, n_rows, by, z, stride_for<T>(lanes));
    return n_rows;
}

// sums += coefficients @ rows, A coefficients by B vectors of rows, in registers.
template <class T, int A, int B>
INLINE void multiply(Vector<T> (&sums)[A][B], const T *coefficients, int64_t coefficient_stride,
                     int64_t n_terms, const T *rows, int64_t stride) {
    for (int64_t p = 0; p < n_terms; p++) {
        Vector<T> row[B];
        UNROLL for (int b = 0; b < B; b++) row[b] = load(rows + p * stride + b * WIDTH<T>);
        UNROLL for (int a = 0; a < A; a++) {
            const Vector<T> c = all(coefficients[a * coefficient_stride + p]);
            UNROLL for (int b = 0; b < B; b++) sums[a][b] = fma(c, row[b], sums[a][b]);
        }
    }
}

// Vectors of rows that go through `multiply` together; of one or two coefficients more, since
// a sum waits for the one before.
constexpr int STRIP = VECTOR_BYTES == 64 ? 4 : 2;
template <class T>
constexpr int64_t STRIP_ROWS = (TILE_ROWS / WIDTH<T>) < STRIP ? TILE_ROWS / WIDTH<T> : STRIP;

template <class T, int A, int B>
INLINE void densities_of(const T *phi, int64_t stride, int64_t n_terms, const T *theta,
                         int64_t theta_stride, const T *constant, T *joint) {
    Vector<T> sums[A][B];
    UNROLL for (int a = 0; a < A; a++) UNROLL for (int b = 0; b < B; b++) sums[a][b] = all(constant[a]);
    multiply<T, A, B>(sums, theta, theta_stride, n_terms, phi, stride);
    UNROLL for (int a = 0; a < A; a++)
        UNROLL for (int b = 0; b < B; b++) store(joint + a * stride + b * WIDTH<T>, sums[a][b]);
}

template <class T, int B>
__attribute__((noinline)) void densities_strip(const T *phi, int64_t stride, int64_t n_terms, const T *theta,
                            int64_t theta_stride, const T *constant, T *joint, int64_t n) {
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
        densities_of<T, 4, B>(phi, stride, n_terms, theta + k * theta_stride, theta_stride,
                              constant + k, joint + k * stride);
    theta += k * theta_stride, constant += k, joint += k * stride;
    if (n - k == 3) densities_of<T, 3, B>(phi, stride, n_terms, theta, theta_stride, constant, joint);
    if (n - k == 2) densities_of<T, 2, B>(phi, stride, n_terms, theta, theta_stride, constant, joint);
    if (n - k == 1) densities_of<T, 1, B>(phi, stride, n_terms, theta, theta_stride, constant, joint);
}

// joint = constant + theta @ phi, of a tile.
template <class T>
INLINE void densities(const T *phi, int64_t lanes, int64_t n_terms, const T *theta,
                      int64_t theta_stride, const T *constant, T *joint, int64_t n) {
    const int64_t stride = stride_for<T>(lanes);
    int64_t i = 0;
    for (; i + STRIP * WIDTH<T> <= lanes; i += STRIP * WIDTH<T>)
        densities_strip<T, STRIP>(phi + i, stride, n_terms, theta, theta_stride, constant, joint + i, n);
    for (; i < lanes; i += 2 * WIDTH<T>)
        densities_strip<T, 2>(phi + i, stride, n_terms, theta, theta_stride, constant, joint + i, n);
}

// sums[a, b] += left[a] . right[b] over rows, A by four, of which `wanted` columns are kept.
template <class T, int A>
INLINE void add_products(const T *left, const T *right, int64_t stride, int64_t n_rows, double *sums,
                         int64_t sums_stride, int64_t wanted) {
    constexpr int B = VECTOR_BYTES == 64 ? 4 : 2;  // what registers hold
    Vector<T> found[A][4][PARTS];
    UNROLL for (int part = 0; part < PARTS; part++) UNROLL for (int b0 = 0; b0 < 4; b0 += B) {
        Vector<T> sum[A][B];
        UNROLL for (int a = 0; a < A; a++) UNROLL for (int b = 0; b < B; b++) sum[a][b] = all((T)0);
        for (int64_t i = part * WIDTH<T>; i < n_rows; i += LANES<T>) {
            Vector<T> column[B];
            UNROLL for (int b = 0; b < B; b++) column[b] = load(right + (b0 + b) * stride + i);
            UNROLL for (int a = 0; a < A; a++) {
                const Vector<T> row = load(left + a * stride + i);
                UNROLL for (int b = 0; b < B; b++) sum[a][b] = fma(row, column[b], sum[a][b]);
            }
        }
        UNROLL for (int a = 0; a < A; a++)
            UNROLL for (int b = 0; b < B; b++) found[a][b0 + b][part] = sum[a][b];
    }
    UNROLL for (int a = 0; a < A; a++) {
        const Quad64 four = widen(
            quad<T>(fold(found[a][0]), fold(found[a][1]), fold(found[a][2]), fold(found[a][3])));
        double *to = sums + a * sums_stride;
        if (wanted >= 4)
            store(to, load_quad(to) + four);
        else
            for (int64_t b = 0; b < wanted; b++) to[b] += four[b];
    }
}
template <class T>
__attribute__((noinline)) void add_up_to_four(int64_t a, const T *left, const T *right, int64_t stride, int64_t n_rows,
                           double *sums, int64_t sums_stride, int64_t wanted) {
    if (a >= 4) add_products<T, 4>(left, right, stride, n_rows, sums, sums_stride, wanted);
    if (a == 3) add_products<T, 3>(left, right, stride, n_rows, sums, sums_stride, wanted);
    if (a == 2) add_products<T, 2>(left, right, stride, n_rows, sums, sums_stride, wanted);
    if (a == 1) add_products<T, 1>(left, right, stride, n_rows, sums, sums_stride, wanted);
}

// sums += resp @ phi.T. Both have a row of zeros beyond their last, up to a multiple of four.
template <class T>
void add_sums(const T *phi, int64_t n_terms, const T *resp, int64_t n, int64_t lanes, double *sums,
              int64_t sums_stride) {
    const int64_t stride = stride_for<T>(lanes);
    if (n <= n_terms) {  // what is read again and again should be the smaller one
        for (int64_t p = 0; p < n_terms; p += 4)
            for (int64_t k = 0; k < n; k += 4)
                add_up_to_four(n - k, resp + k * stride, phi + p * stride, stride, lanes,
                               sums + k * sums_stride + p, sums_stride, 4);
        return;
    }
    for (int64_t k = 0; k < n; k += 4)
        for (int64_t p = 0; p < n_terms; p += 4)
            add_up_to_four(n - k, resp + k * stride, phi + p * stride, stride, lanes,
                           sums + k * sums_stride + p, sums_stride, 4);
}

// second += w @ v.T on and below the diagonal, (d, d). v has rows of zeros as above.
template <class T>
void add_scatter(const T *v, const T *w, int64_t stride, int64_t n_rows, double *second, int64_t d) {
    for (int64_t a = 0; a < d; a += 4)
        for (int64_t b = 0; b <= a; b += 4)
            add_up_to_four(d - a, w + a * stride, v + b * stride, stride, n_rows, second + a * d + b,
                           d, d - b);
}

// Log of what a responsibility may be of its row's largest to be zero to rounding: half of
// float64's eps. Added to the row's total it would be lost, and so it would be in the sums of a
// component of any weight. In float32, too: sums over rows are float64.
constexpr double ZERO = -36.75;
// Components; with fewer there is too little to skip for looking to pay.
constexpr int64_t SKIPPING_FROM = 32;
// Measured: a responsibility that is listed, or one of all: to normalise it, and to add it up
// times a term. Listing pays where few are above zero.
constexpr double LISTED_NS = 45.0, LISTED_TERM_NS = 0.15, SUMMED_NS = 1.6, SUMMED_TERM_NS = 0.04;

// Log densities of a tile, then responsibilities, and which of them are not zero to rounding.
template <class T>
struct Tile {
    Tile(int64_t n_components, int64_t most_lanes, const double *noise_, bool &failed)
        : joint(whole(n_components, 4) * stride_for<T>(most_lanes), failed),
          largest(most_lanes, failed),
          total(most_lanes, failed),
          last_weight(most_lanes, failed),
          log_density(most_lanes, failed),
          counts(n_components, failed),
          rows(n_components * most_lanes + LANES<T>, failed),
          values(n_components * most_lanes + LANES<T>, failed),
          n(n_components),
          has_noise(noise_ != nullptr),
          noise(has_noise ? (T)*noise_ : (T)0) {}

    void of(int64_t lanes_, int64_t n_rows_, const Rows &rows, int64_t start) {
        lanes = lanes_, n_rows = n_rows_, stride = stride_for<T>(lanes);
        found_log_density = rows.log_density == nullptr ? nullptr : rows.log_density + start;
        weight = rows.weight == nullptr ? nullptr : rows.weight + start;
        if (weight == nullptr || n_rows == lanes) return;
        for (int64_t i = 0; i < n_rows; i++) last_weight.data[i] = weight[i];
        for (int64_t i = n_rows; i < lanes; i++) last_weight.data[i] = 0.0;
        weight = last_weight.data;
    }

    // Finds each row's largest, and whether to list what is not zero to rounding.
    bool listing_pays(int64_t n_terms) {
        const int64_t active = count_active();
        const double listed = (double)active * (LISTED_NS + LISTED_TERM_NS * (double)n_terms);
        const double summed = (double)(n * lanes) * (SUMMED_NS + SUMMED_TERM_NS * (double)n_terms);
        return listed < summed;
    }

    // How many log densities are not zero to rounding, of all and of each component. Of few
    // components all are counted; else, of lanes beyond the rows none is.
    int64_t count_active() {
        for (int64_t i = 0; i < lanes; i += WIDTH<T>) {
            Vector<T> most = load(joint.data + i);
            for (int64_t k = 1; k < n; k++) {
                const Vector<T> here = load(joint.data + k * stride + i);
                most = here > most ? here : most;
            }
            if (has_noise) most = all(noise) > most ? all(noise) : most;
            store(largest.data + i, most);
        }
        if (n < SKIPPING_FROM) return n * lanes;
        int64_t active = 0;
        for (int64_t k = 0; k < n; k++) {
            int64_t count = 0;
            for (int64_t i = 0; i < n_rows; i += WIDTH<T>) count += __builtin_popcount(found_at(k, i));
            counts.data[k] = count;
            active += count;
        }
        return active;
    }

    inline uint32_t found_at(int64_t k, int64_t i) const {
        const uint32_t found = above(load(joint.data + k * stride + i), load(largest.data + i) + all((T)ZERO));
        const int64_t there = n_rows - i;
        return there >= WIDTH<T> ? found : found & ((1u << there) - 1u);
    }

    // List what `count_active` counted, component by component, relative to the row's largest.
    void list_active() {
        n_listed = 0;
        for (int64_t k = 0; k < n; k++) {
            if (counts.data[k] == 0) continue;
            const int64_t begin = n_listed;
            for (int64_t i = 0; i < n_rows; i += WIDTH<T>)
                for (uint32_t found = found_at(k, i); found != 0; found &= found - 1)
                    rows.data[n_listed++] = (int32_t)i + __builtin_ctz(found);
            const T *row = joint.data + k * stride;
            for (int64_t t = begin; t < n_listed; t++)
                values.data[t] = row[rows.data[t]] - largest.data[rows.data[t]];
        }
    }

    // Turns log densities into densities relative to the row's largest, in place, whose totals are
    // inverted; returns the sum of the rows' log densities, times the weights.
    double relate() {
        for (int64_t i = 0; i < lanes; i += WIDTH<T>) {
            const Vector<T> most = load(largest.data + i);
            Vector<T> sum = density_of_noise(most);
            int64_t k = 0;
            for (; k + 4 <= n; k += 4) add_densities<4>(k, i, most, sum);
            if (n - k == 3) add_densities<3>(k, i, most, sum);
            if (n - k == 2) add_densities<2>(k, i, most, sum);
            if (n - k == 1) add_densities<1>(k, i, most, sum);
            store(total.data + i, sum);
        }
        return invert();
    }

    // Turns log densities into responsibilities, in place, 0 beyond the rows; adds them to
    // `n_k`, and returns the sum of the rows' log densities. All of it is times the weights.
    double normalise(double *n_k) {
        const double log_likelihood = relate();
        for (int64_t k = 0; k < n; k++) {
            T *row = joint.data + k * stride;
            Vector<T> count[PARTS];
            UNROLL for (int part = 0; part < PARTS; part++) count[part] = all((T)0);
            for (int64_t i = 0; i < lanes; i += LANES<T>)
                UNROLL for (int part = 0; part < PARTS; part++) {
                    const int64_t at = i + part * WIDTH<T>;
                    const Vector<T> resp = load(row + at) * load(total.data + at);
                    store(row + at, resp);
                    count[part] += resp;
                }
            n_k[k] += total_of(count);
        }
        return log_likelihood;
    }

    // As `normalise`, of log densities that are listed; others are zero to rounding.
    double normalise_listed(double *n_k) {
        T *value = values.data;
        const int32_t *row = rows.data;
        for (int64_t t = n_listed; t < whole(n_listed, LANES<T>); t++) value[t] = 0;
        for (int64_t t = 0; t < n_listed; t += WIDTH<T>) store(value + t, exp(load(value + t)));
        for (int64_t i = 0; i < lanes; i += WIDTH<T>)
            store(total.data + i, density_of_noise(load(largest.data + i)));
        for (int64_t t = 0; t < n_listed; t++) total.data[row[t]] += value[t];
        const double log_likelihood = invert();
        for (int64_t t = 0; t < n_listed; t++) value[t] *= total.data[row[t]];
        for (int64_t k = 0; k < n; value += counts.data[k], k++) {
            double sum[4] = {0, 0, 0, 0};
            for (int64_t t = 0; t < counts.data[k]; t++) sum[t % 4] += (double)value[t];
            n_k[k] += (sum[0] + sum[2]) + (sum[1] + sum[3]);
        }
        return log_likelihood;
    }

    Buffer<T> joint, largest, total;
    Buffer<double> last_weight, log_density;
    Buffer<int64_t> counts;
    Buffer<int32_t> rows;
    Buffer<T> values;
    const int64_t n;
    const bool has_noise;
    const T noise;
    int64_t lanes = 0, n_rows = 0, stride = 0, n_listed = 0;
    const double *weight = nullptr;
    double *found_log_density = nullptr;

  private:
    // Relative to the rows' largest.
    inline Vector<T> density_of_noise(Vector<T> most) const {
        return has_noise ? exp(all(noise) - most) : all((T)0);
    }

    // Of B components in a vector of rows; they are added one after the other.
    template <int B>
    inline __attribute__((always_inline)) void add_densities(int64_t k, int64_t i, Vector<T> most, Vector<T> &sum) {
        T *at = joint.data + k * stride + i;
        Vector<T> value[B];
        EACH value[b] = load(at + b * stride) - most;
        exponentials(value);
        EACH store(at + b * stride, value[b]), sum += value[b];
    }

    // Sum of the log densities `largest + log(total)`; `total` becomes its inverse, times the
    // weights, and 0 beyond the rows.
    double invert() {
        for (int64_t i = n_rows; i < lanes; i++) largest.data[i] = 0, total.data[i] = 1;
        if (found_log_density != nullptr) write_log_densities();
        const double found = weight != nullptr ? weighted_logs() : logs();
        if (weight == nullptr)
            for (int64_t i = 0; i < lanes; i += WIDTH<T>)
                store(total.data + i, all((T)1) / load(total.data + i));
        for (int64_t i = n_rows; i < lanes; i++) total.data[i] = 0;
        return found;
    }

    void write_log_densities() {
        for (int64_t i = 0; i < lanes; i += WIDTH<double>)
            store(log_density.data + i, load_wide(largest.data + i) + log(load_wide(total.data + i)));
        for (int64_t i = 0; i < n_rows; i++) found_log_density[i] = log_density.data[i];
    }

    // A total lies between 1 and K, or K + 1 with noise: of a product of sixteen, one logarithm serves all.
    double logs() const {
        Float64 sum[PARTS];
        UNROLL for (int part = 0; part < PARTS; part++) {
            Float64 heights = all(0.0), found = all(0.0), product = all(1.0);
            int64_t taken = 0;
            for (int64_t i = part * WIDTH<double>; i < lanes; i += LANES<double>) {
                product *= load_wide(total.data + i);
                heights += load_wide(largest.data + i);
                if (++taken % 16 == 0) found += log(product), product = all(1.0);
            }
            sum[part] = heights + (found + log(product));
        }
        return total_of(sum);
    }

    double weighted_logs() {
        constexpr int B = PARTS;
        Float64 sum[B];
        EACH sum[b] = all(0.0);
        for (int64_t first = 0; first < lanes; first += LANES<double>) {
            Float64 log[B], inverse[B];
            EACH log[b] = load_wide(total.data + first + b * WIDTH<double>);
            logs_and_inverses(log, inverse);
            EACH {
                const int64_t i = first + b * WIDTH<double>;
                const Float64 times = load(weight + i);
                sum[b] = fma(times, load_wide(largest.data + i) + log[b], sum[b]);
                store_wide(total.data + i, times * inverse[b]);
            }
        }
        return total_of(sum);
    }
};

constexpr int64_t TAIL = 5;  // log height, (nu + D) / 2, 1 / nu, (nu + D) / nu and its logarithm

// Turns squared distances of a tile into log densities of t components, and these into
// responsibilities r times weights u.
template <class T>
struct Tails {
    Tails(const double *tails, int64_t n, int64_t most_lanes_, bool &failed)
        : scales(tails == nullptr ? 0 : n * most_lanes_, failed),
          sizes(tails == nullptr ? 0 : n * most_lanes_, failed),
          of(tails),
          most_lanes(most_lanes_) {}

    void densities(T *joint, const Tile<T> &tile, const int64_t *chosen) {
        constexpr int B = 4;
        for (int64_t c = 0; c < tile.n && of != nullptr; c++) {
            const double *tail = of + TAIL * chosen[c];
            const Float64 height = all(tail[0]), minus_half = all(-tail[1]), zero = all(0.0);
            const Float64 scale = all(-2.0 * tail[2]), top = all(tail[3]);
            T *row = joint + c * tile.stride;
            double *scales_of = scales.data + c * most_lanes, *sizes_of = sizes.data + c * most_lanes;
            for (int64_t first = 0; first < tile.lanes; first += B * WIDTH<double>) {
                Float64 log[B], inverse[B];
                EACH {
                    const Float64 found = load_wide(row + first + b * WIDTH<double>);
                    log[b] = fma(found < zero ? found : zero, scale, all(1.0));
                }
                logs_and_inverses(log, inverse);
                EACH {
                    const int64_t i = first + b * WIDTH<double>;
                    const Float64 u = top * inverse[b];
                    store(scales_of + i, u), store(sizes_of + i, log[b] + u);
                    store_wide(row + i, fma(minus_half, log[b], height));
                }
            }
        }
    }

    // Responsibilities r as the tile finds them; where components have tails, what is left in the
    // tile is r u.
    double normalise(Tile<T> &tile, const int64_t *chosen, double *n_k, const Sums &sums) const {
        if (of == nullptr) return tile.normalise(n_k);
        const double log_likelihood = tile.relate();
        for (int64_t c = 0; c < tile.n; c++) {
            T *row = tile.joint.data + c * tile.stride;
            const double *u = scales.data + c * most_lanes, *size = sizes.data + c * most_lanes;
            Float64 of_r[PARTS], of_u[PARTS], of_size[PARTS];
            UNROLL for (int part = 0; part < PARTS; part++) of_r[part] = of_u[part] = of_size[part] = all(0.0);
            for (int64_t i = 0; i < tile.lanes; i += LANES<double>)
                UNROLL for (int part = 0; part < PARTS; part++) {
                    const int64_t at = i + part * WIDTH<double>;
                    const Float64 r = load_wide(row + at) * load_wide(tile.total.data + at);
                    const Float64 weight = r * load(u + at);
                    store_wide(row + at, weight);
                    of_r[part] += r, of_u[part] += weight;
                    of_size[part] = fma(r, load(size + at), of_size[part]);
                }
            const double count = total_of(of_r);
            n_k[c] += count;
            sums.n_u[chosen[c]] += total_of(of_u);
            // The sum of r (log u - u), in which log u = log((nu + D) / nu) - log(1 + delta / nu) and
            // `sizes` hold log(1 + delta / nu) + u.
            sums.tails[chosen[c]] += of[TAIL * chosen[c] + 4] * count - total_of(of_size);
        }
        return log_likelihood;
    }

    Buffer<double> scales, sizes;  // u, and log(1 + delta / nu) + u
    const double *of;
    int64_t most_lanes;
};

// Strips of rows by B vectors: a sum waits for the one before it.
template <class T>
INLINE void add_up_products(T *sums, const T *z, const Natural &natural, int64_t lanes) {
    constexpr int B = (int)STRIP_ROWS<T>;
    const int64_t stride = stride_for<T>(lanes);
    for (int64_t i = 0; i < lanes; i += B * WIDTH<T>) {
        Vector<T> sum[B];
        EACH sum[b] = all((T)0);
        for (int64_t p = 0; p < natural.n_products; p++) {
            const T *first = z + natural.first_of[p] * stride + i, *second = z + natural.second_of[p] * stride + i;
            EACH sum[b] = fma(load(first + b * WIDTH<T>), load(second + b * WIDTH<T>), sum[b]);
        }
        EACH store(sums + i + b * WIDTH<T>, sum[b]);
    }
}

// Terms of second order: products of features, or their sum.
template <class T>
INLINE void multiply_features(T *phi, const T *z, const Natural &natural, int64_t lanes) {
    const int64_t stride = stride_for<T>(lanes);
    if (natural.n_second < natural.n_products) {
        add_up_products(phi, z, natural, lanes);
        return;
    }
    for (int64_t p = 0; p < natural.n_products; p++) {
        const T *first = z + natural.first_of[p] * stride, *second = z + natural.second_of[p] * stride;
        for (int64_t i = 0; i < lanes; i += WIDTH<T>)
            store(phi + p * stride + i, load(first + i) * load(second + i));
    }
}

// As `add_sums`, of responsibilities that are listed. `by_row` is scratch.
template <class T>
void add_listed_sums(const T *phi, int64_t n_terms, const Tile<T> &tile, T *by_row, double *sums,
                     int64_t padded) {
    for (int64_t p = 0; p < n_terms; p += 4)
        for (int64_t i = 0; i < tile.lanes; i += 4) {
            Quad<T> four[4];
            UNROLL for (int r = 0; r < 4; r++) four[r] = load_quad(phi + (p + r) * tile.stride + i);
            transpose(four);
            UNROLL for (int r = 0; r < 4; r++) store(by_row + (i + r) * padded + p, four[r]);
        }
    constexpr int64_t W = WIDTH<double>;
    constexpr int B = 4;
    const int32_t *row = tile.rows.data;
    const T *resp = tile.values.data;
    for (int64_t k = 0; k < tile.n; k++) {
        const int64_t count = tile.counts.data[k];
        double *to = sums + k * padded;
        int64_t p = 0;
        for (; count > 0 && p + B * W <= padded; p += B * W) {
            Float64 sum[B];
            UNROLL for (int b = 0; b < B; b++) sum[b] = load(to + p + b * W);
            for (int64_t t = 0; t < count; t++) {
                const Float64 r = all((double)resp[t]);
                const T *from = by_row + row[t] * padded + p;
                UNROLL for (int b = 0; b < B; b++) sum[b] = fma(r, load_wide(from + b * W), sum[b]);
            }
            UNROLL for (int b = 0; b < B; b++) store(to + p + b * W, sum[b]);
        }
        for (; count > 0 && p < padded; p += W) {
            Float64 sum = load(to + p);
            for (int64_t t = 0; t < count; t++)
                sum = fma(all((double)resp[t]), load_wide(by_row + row[t] * padded + p), sum);
            store(to + p, sum);
        }
        row += count, resp += count;
    }
}

constexpr int64_t NATURAL_LANE_BYTES = 1024;

template <class T>
int add_natural(const Rows &rows, const Cells &cells, const Natural &natural, const Sums &sums) {
    const int64_t most_lanes = NATURAL_LANE_BYTES / (int64_t)sizeof(T), n = cells.n_chosen;
    const int64_t n_terms = natural.n_second + rows.d;
    const int64_t padded = whole(n_terms, 8);
    const T *coefficients = (const T *)natural.coefficients, *constant = (const T *)natural.constant;
    const Scaling by{natural.centre, natural.inverse_scale};
    bool failed = false;
    Buffer<T> all_phi(padded * stride_for<T>(most_lanes), failed), by_row(most_lanes * padded, failed);
    Buffer<T> theta(n * padded, failed), heights(n, failed);
    Buffer<double> partial(whole(n, 4) * padded, failed), partial_k(n, failed);
    Tile<T> tile(n, most_lanes, natural.noise, failed);
    Tails<T> tails(natural.tails, n, most_lanes, failed);
    if (failed) return 1;
    T *phi = all_phi.data;
    double log_likelihood = 0.0;
    for (int64_t m = 0; m < cells.n; m++) {
        const int64_t begin = cells.row_bounds[m], end = cells.row_bounds[m + 1];
        const int64_t *chosen = cells.candidates + m * n;
        if (begin == end) continue;
        const int64_t lanes = lanes_for(end - begin, most_lanes), stride = stride_for<T>(lanes);
        zeroed(phi, padded * stride);  // what a tile of another width left there is no row
        for (int64_t c = 0; c < n; c++) {
            heights.data[c] = constant[chosen[c]];
            for (int64_t p = 0; p < n_terms; p++)
                theta.data[c * padded + p] = coefficients[chosen[c] * n_terms + p];
        }
        zeroed(partial.data, n * padded), zeroed(partial_k.data, n);
        for (int64_t start = begin; start < end; start += lanes) {
            T *z = phi + natural.n_second * stride;
            const int64_t n_rows = load_rows(rows, start, end, by, z, lanes);
            tile.of(lanes, n_rows, rows, start);
            multiply_features(phi, z, natural, lanes);
            densities(phi, lanes, n_terms, theta.data, padded, heights.data, tile.joint.data, n);
            tails.densities(tile.joint.data, tile, chosen);
            if (tile.listing_pays(n_terms) && tails.of == nullptr) {
                tile.list_active();
                log_likelihood += tile.normalise_listed(partial_k.data);
                add_listed_sums(phi, n_terms, tile, by_row.data, partial.data, padded);
            } else {
                log_likelihood += tails.normalise(tile, chosen, partial_k.data, sums);
                add_sums(phi, n_terms, tile.joint.data, n, lanes, partial.data, padded);
            }
        }
        for (int64_t c = 0; c < n; c++) {
            sums.n_k[chosen[c]] += partial_k.data[c];
            for (int64_t p = 0; p < n_terms; p++)
                sums.first[chosen[c] * n_terms + p] += partial.data[c * padded + p];
        }
    }
    *sums.log_likelihood = log_likelihood;
    return 0;
}

int find_log_densities(const Rows &rows, const Natural &natural, double *found) {
    const int64_t lanes = NATURAL_LANE_BYTES / (int64_t)sizeof(double), stride = stride_for<double>(lanes);
    const int64_t n = natural.n_components, n_terms = natural.n_second + rows.d;
    const double *theta = (const double *)natural.coefficients;
    const double *constant = (const double *)natural.constant;
    const Scaling by{natural.centre, natural.inverse_scale};
    bool failed = false;
    Buffer<double> phi(n_terms * stride, failed), joint(n * stride, failed), logs(lanes, failed);
    if (failed) return 1;
    for (int64_t start = 0; start < rows.n; start += lanes) {
        double *z = phi.data + natural.n_second * stride;
        const int64_t n_rows = load_rows(rows, start, rows.n, by, z, lanes);
        multiply_features(phi.data, z, natural, lanes);
        densities(phi.data, lanes, n_terms, theta, n_terms, constant, joint.data, n);
        for (int64_t i = 0; i < lanes; i += WIDTH<double>) {
            Float64 most = load(joint.data + i), total = all(0.0);
            for (int64_t k = 1; k < n; k++) {
                const Float64 here = load(joint.data + k * stride + i);
                most = here > most ? here : most;
            }
            if (natural.noise != nullptr) {
                const Float64 noise = all(*natural.noise);
                most = noise > most ? noise : most;
                total = exp(noise - most);
            }
            for (int64_t k = 0; k < n; k++) total += exp(load(joint.data + k * stride + i) - most);
            store(logs.data + i, most + log(total));
        }
        for (int64_t i = 0; i < n_rows; i++) found[start + i] = logs.data[i];
    }
    return 0;
}

// Points whose products with a tile of rows stay in the first caches.
constexpr int64_t SEARCHED = 64;

struct Points {
    const double *centre;
    const void *coefficients, *constant;
    int64_t n;
};

template <class T>
int find_nearest(const Rows &rows, const Points &points, int64_t *nearest) {
    const int64_t lanes = NATURAL_LANE_BYTES / (int64_t)sizeof(T), stride = stride_for<T>(lanes);
    const int64_t d = rows.d;
    const T *coefficients = (const T *)points.coefficients, *constant = (const T *)points.constant;
    bool failed = false;
    Buffer<double> ones(d, failed);
    Buffer<T> z(d * stride, failed), near(SEARCHED * stride, failed), largest(lanes, failed);
    Buffer<T> which(lanes, failed);  // of the same width: exact up to 2^24
    if (failed) return 1;
    for (int64_t j = 0; j < d; j++) ones.data[j] = 1.0;
    for (int64_t start = 0; start < rows.n; start += lanes) {
        const int64_t n_rows = load_rows(rows, start, rows.n, Scaling{points.centre, ones.data}, z.data, lanes);
        zeroed(which.data, lanes);
        for (int64_t i = 0; i < lanes; i++) largest.data[i] = (T)-__builtin_inf();
        for (int64_t first = 0; first < points.n; first += SEARCHED) {
            const int64_t n = at_most(SEARCHED, points.n - first);
            densities(z.data, lanes, d, coefficients + first * d, d, constant + first, near.data, n);
            for (int64_t i = 0; i < lanes; i += WIDTH<T>) {
                Vector<T> most = load(largest.data + i), name = load(which.data + i);
                for (int64_t k = 0; k < n; k++) {
                    const Vector<T> here = load(near.data + k * stride + i);
                    name = here > most ? all((T)(first + k)) : name;
                    most = here > most ? here : most;
                }
                store(largest.data + i, most), store(which.data + i, name);
            }
        }
        for (int64_t i = 0; i < n_rows; i++) nearest[start + i] = (int64_t)which.data[i];
    }
    return 0;
}

template <class T, int A, int B>
INLINE void add_squares(Vector<T> (&squares)[B], const T *z, int64_t stride, const T *factor, int64_t d,
                        int64_t n_terms, const T *shift) {
    Vector<T> y[A][B];
    UNROLL for (int a = 0; a < A; a++) UNROLL for (int b = 0; b < B; b++) y[a][b] = all(shift[a]);
    multiply<T, A, B>(y, factor, d, n_terms, z, stride);
    UNROLL for (int a = 0; a < A; a++)
        UNROLL for (int b = 0; b < B; b++) squares[b] = fma(y[a][b], y[a][b], squares[b]);
}

// joint = height - |factor @ z + shift|^2 / 2 of a strip; the factor is lower triangular (d, d).
template <class T, int B>
__attribute__((noinline)) void whitened_strip(const T *z, int64_t stride, const T *factor, const T *shift, int64_t d,
                           T height, T *joint) {
    Vector<T> squares[B];
    UNROLL for (int b = 0; b < B; b++) squares[b] = all((T)0);
    int64_t a = 0;
    for (; a + 4 <= d; a += 4)
        add_squares<T, 4, B>(squares, z, stride, factor + a * d, d, a + 4, shift + a);
    factor += a * d, shift += a;
    if (d - a == 3) add_squares<T, 3, B>(squares, z, stride, factor, d, d, shift);
    if (d - a == 2) add_squares<T, 2, B>(squares, z, stride, factor, d, d, shift);
    if (d - a == 1) add_squares<T, 1, B>(squares, z, stride, factor, d, d, shift);
    UNROLL for (int b = 0; b < B; b++)
        store(joint + b * WIDTH<T>, fma(squares[b], all((T)-0.5), all(height)));
}

constexpr int64_t WHITENED_LANE_BYTES = 2304;

// Deviations v = z - mean of the rows of a component, and w, those times responsibilities.
template <class T>
struct Deviations {
    Deviations(int64_t d_, int64_t most_lanes, bool &failed)
        : v(whole(d_, 4) * stride_for<T>(most_lanes), failed),
          w(whole(d_, 4) * stride_for<T>(most_lanes), failed),
          d(d_) {}

    void of_all(const T *z, const T *resp, const T *mean, int64_t lanes) {
        width = lanes, stride = stride_for<T>(width);
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i < lanes; i += WIDTH<T>) {
                const Vector<T> deviation = load(z + j * stride + i) - all(mean[j]);
                store(v.data + j * stride + i, deviation);
                store(w.data + j * stride + i, deviation * load(resp + i));
            }
    }

    void of_listed(const T *z, int64_t z_stride, const int32_t *rows, const T *resp, const T *mean,
                   int64_t count) {
        width = whole(count, LANES<T>), stride = stride_for<T>(width);
        for (int64_t j = 0; j < d; j++) {
            T *v_j = v.data + j * stride, *w_j = w.data + j * stride;
            for (int64_t t = 0; t < count; t++) {
                v_j[t] = z[j * z_stride + rows[t]] - mean[j];
                w_j[t] = resp[t] * v_j[t];
            }
            for (int64_t t = count; t < width; t++) v_j[t] = w_j[t] = 0;
        }
    }

    void add_to(double *first, double *second) {
        for (int64_t j = 0; j < d; j++) {
            Vector<T> sum[PARTS];
            UNROLL for (int part = 0; part < PARTS; part++) sum[part] = all((T)0);
            for (int64_t i = 0; i < width; i += LANES<T>)
                UNROLL for (int part = 0; part < PARTS; part++)
                    sum[part] += load(w.data + j * stride + i + part * WIDTH<T>);
            first[j] += total_of(sum);
        }
        for (int64_t j = d; j < whole(d, 4); j++) zeroed(v.data + j * stride, width);
        add_scatter(v.data, w.data, stride, width, second, d);
    }

    Buffer<T> v, w;
    int64_t d, width = 0, stride = 0;
};

template <class T>
int add_whitened(const Rows &rows, const Cells &cells, const Whitened &whitened, const Sums &sums) {
    const int64_t most_lanes = WHITENED_LANE_BYTES / (int64_t)sizeof(T), n = cells.n_chosen, d = rows.d;
    const T *means = (const T *)whitened.means, *factors = (const T *)whitened.factors;
    const T *shifts = (const T *)whitened.shifts, *heights = (const T *)whitened.heights;
    const Scaling by{whitened.centre, whitened.inverse_scale};
    bool failed = false;
    Buffer<T> all_z(d * stride_for<T>(most_lanes), failed);
    Buffer<double> partial_k(n, failed);
    Tile<T> tile(n, most_lanes, whitened.noise, failed);
    Tails<T> tails(whitened.tails, n, most_lanes, failed);
    Deviations<T> deviations(d, most_lanes, failed);
    if (failed) return 1;
    T *z = all_z.data;
    double log_likelihood = 0.0;
    for (int64_t m = 0; m < cells.n; m++) {
        const int64_t begin = cells.row_bounds[m], end = cells.row_bounds[m + 1];
        const int64_t *chosen = cells.candidates + m * n;
        if (begin == end) continue;
        const int64_t lanes = lanes_for(end - begin, most_lanes), stride = stride_for<T>(lanes);
        zeroed(z, d * stride);  // what a tile of another width left there is no row
        zeroed(partial_k.data, n);
        for (int64_t start = begin; start < end; start += lanes) {
            const int64_t n_rows = load_rows(rows, start, end, by, z, lanes);
            tile.of(lanes, n_rows, rows, start);
            for (int64_t c = 0; c < n; c++) {
                const int64_t k = chosen[c];
                const T *factor = factors + k * d * d, *shift = shifts + k * d;
                T *joint = tile.joint.data + c * stride;
                int64_t i = 0;
                for (; i + STRIP * WIDTH<T> <= lanes; i += STRIP * WIDTH<T>)
                    whitened_strip<T, STRIP>(z + i, stride, factor, shift, d, heights[k], joint + i);
                for (; i < lanes; i += 2 * WIDTH<T>)
                    whitened_strip<T, 2>(z + i, stride, factor, shift, d, heights[k], joint + i);
            }
            tails.densities(tile.joint.data, tile, chosen);
            const bool is_listed = tile.listing_pays(d * (d + 3) / 2) && tails.of == nullptr;
            if (is_listed) tile.list_active();
            log_likelihood += is_listed ? tile.normalise_listed(partial_k.data)
                                        : tails.normalise(tile, chosen, partial_k.data, sums);
            int64_t listed = 0;
            for (int64_t c = 0; c < n; c++) {
                const int64_t k = chosen[c], count = is_listed ? tile.counts.data[c] : lanes;
                if (count == 0) continue;
                if (is_listed)
                    deviations.of_listed(z, stride, tile.rows.data + listed, tile.values.data + listed,
                                         means + k * d, count);
                else
                    deviations.of_all(z, tile.joint.data + c * stride, means + k * d, lanes);
                deviations.add_to(sums.first + k * d, sums.second + k * d * d);
                listed += count;
            }
        }
        for (int64_t c = 0; c < n; c++) sums.n_k[chosen[c]] += partial_k.data[c];
    }
    *sums.log_likelihood = log_likelihood;
    return 0;
}

constexpr int64_t MOMENT_LANES = 128;

struct Moments {
    double *mean, *scatter, *minimum, *maximum;
};

// Each tile has its scatter about its own mean, and they are added by the update of Chan, Golub
// and LeVeque (1983).
int scan_moments(const Rows &rows, const double *pilot, const Moments &found) {
    const int64_t d = rows.d, lanes = MOMENT_LANES, stride = stride_for<double>(lanes);
    const double infinity = __builtin_inf();
    bool failed = false;
    Buffer<double> z(whole(d, 4) * stride, failed), root(lanes, failed), ones(d, failed);
    Buffer<double> low(d * LANES<double>, failed), high(d * LANES<double>, failed);
    Buffer<double> nothing(d, failed), delta(d, failed);
    if (failed) return 1;
    for (int64_t j = 0; j < d; j++) ones.data[j] = 1.0, found.mean[j] = 0.0;
    for (int64_t j = 0; j < d * LANES<double>; j++) low.data[j] = infinity, high.data[j] = -infinity;
    double before = 0.0;
    for (int64_t start = 0; start < rows.n; start += lanes) {
        const int64_t n_rows =
            load_rows(rows, start, rows.n, Scaling{nothing.data, ones.data}, z.data, lanes);
        double here = rows.weight == nullptr ? (double)n_rows : 0.0;
        for (int64_t i = 0; i < n_rows; i++) root.data[i] = rows.weight == nullptr ? 1.0 : rows.weight[start + i];
        if (rows.weight != nullptr)
            for (int64_t i = 0; i < n_rows; i++) here = __builtin_fma(root.data[i], root.data[i], here);
        for (int64_t i = n_rows; i < lanes; i++) root.data[i] = 0.0;
        const double share = here / (before + here);
        for (int64_t j = 0; j < d; j++) {
            double *of = z.data + j * stride;
            for (int64_t i = n_rows; i < lanes; i++) of[i] = of[0];  // counts for no extreme
            Float64 sum[PARTS];
            UNROLL for (int part = 0; part < PARTS; part++) {
                const int64_t first = part * WIDTH<double>, lane = j * LANES<double> + first;
                Float64 least = load(low.data + lane), most = load(high.data + lane), total = all(0.0);
                for (int64_t i = first; i < lanes; i += LANES<double>) {
                    const Float64 value = load(of + i), r = load(root.data + i);
                    least = value < least ? value : least;
                    most = value > most ? value : most;
                    const Float64 deviation = value - all(pilot[j]);
                    store(of + i, deviation);
                    total = fma(r * r, deviation, total);
                }
                store(low.data + lane, least), store(high.data + lane, most);
                sum[part] = total;
            }
            const double mean = total_of(sum) / here;
            for (int64_t i = 0; i < lanes; i += WIDTH<double>)
                store(of + i, (load(of + i) - all(mean)) * load(root.data + i));
            delta.data[j] = mean - found.mean[j];
        }
        add_scatter(z.data, z.data, stride, lanes, found.scatter, d);
        for (int64_t a = 0; a < d; a++) {
            for (int64_t b = 0; b <= a; b++)
                found.scatter[a * d + b] += before * share * delta.data[a] * delta.data[b];
            found.mean[a] += share * delta.data[a];
        }
        before += here;
    }
    for (int64_t j = 0; j < d; j++) {
        double least = infinity, most = -infinity;
        for (int64_t i = j * LANES<double>; i < (j + 1) * LANES<double>; i++) {
            least = low.data[i] < least ? low.data[i] : least;
            most = high.data[i] > most ? high.data[i] : most;
        }
        found.minimum[j] = least, found.maximum[j] = most;
        found.mean[j] += pilot[j];
    }
    return 0;
}

// Rows i of n whose hash is below a threshold: the finaliser of SplitMix64 of `first + i * step`.
struct Drawn {
    uint64_t first, step, threshold;
    int64_t n;
    int64_t *rows, *n_found;
};

int find_drawn(const Drawn &of) {
    int64_t n = 0;
    uint64_t key = of.first;
    for (int64_t i = 0; i < of.n; i++, key += of.step) {
        uint64_t z = key;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        of.rows[n] = i;  // the next one found is written over it, if this one is not
        n += z < of.threshold;
    }
    *of.n_found = n;
    return 0;
}

}  // namespace

#include "gaps.h"
#include "patterns.h"
#include "completed.h"
#include "measured.h"

// Each returns 0, or 1 where memory is short.
#define JOINED(variant, name) variant##_##name
#define NAMED(variant, name) JOINED(variant, name)
#define EXPORTED(name) extern "C" __attribute__((visibility("default"))) int NAMED(VARIANT, name)

EXPORTED(add_natural_float64)(const Rows *rows, const Cells *cells, const Natural *natural, const Sums *sums) {
    return add_natural<double>(*rows, *cells, *natural, *sums);
}
EXPORTED(add_natural_float32)(const Rows *rows, const Cells *cells, const Natural *natural, const Sums *sums) {
    return add_natural<float>(*rows, *cells, *natural, *sums);
}
EXPORTED(add_whitened_float64)(const Rows *rows, const Cells *cells, const Whitened *whitened, const Sums *sums) {
    return add_whitened<double>(*rows, *cells, *whitened, *sums);
}
EXPORTED(add_whitened_float32)(const Rows *rows, const Cells *cells, const Whitened *whitened, const Sums *sums) {
    return add_whitened<float>(*rows, *cells, *whitened, *sums);
}
EXPORTED(find_log_densities)(const Rows *rows, const Natural *natural, double *found) {
    return find_log_densities(*rows, *natural, found);
}
EXPORTED(find_nearest_float64)(const Rows *rows, const Points *points, int64_t *nearest) {
    return find_nearest<double>(*rows, *points, nearest);
}
EXPORTED(find_nearest_float32)(const Rows *rows, const Points *points, int64_t *nearest) {
    return find_nearest<float>(*rows, *points, nearest);
}
EXPORTED(scan_moments)(const Rows *rows, const double *pilot, const Moments *found) {
    return scan_moments(*rows, pilot, *found);
}
EXPORTED(find_drawn)(const Drawn *of) { return find_drawn(*of); }
EXPORTED(find_gaps_float64)(const Rows *rows, const Gaps *found) {
    return find_gaps<double>(*rows, *found);
}
EXPORTED(find_gaps_float32)(const Rows *rows, const Gaps *found) {
    return find_gaps<float>(*rows, *found);
}
EXPORTED(add_correlated)(const Rows *rows, const Correlated *of, const Sums *sums) {
    return add_correlated(*rows, *of, *sums);
}
EXPORTED(add_separate)(const Rows *rows, const Separate *of, const Sums *sums) {
    return add_separate(*rows, *of, *sums);
}
EXPORTED(add_measured_correlated)(const Rows *rows, const Measured *of, const Sums *sums) {
    return add_measured_correlated(*rows, *of, *sums);
}
EXPORTED(add_measured_separate)(const Rows *rows, const Measured *of, const Sums *sums) {
    return add_measured_separate(*rows, *of, *sums);
}
