// SPDX-License-Identifier: Apache-2.0
/* Dense algebra of momentum_filter.py. filter_algebra.py describes the matrices and holds the numpy version.
 *
 * A state is its mean (m,) followed by its covariance (m, m), m = 4n + k, in the order (q, v, d, e, z).
 */
#include "kernel.h"

typedef struct {
    long n, nu, k;
    double stiction_velocity;
    const double *drift, *model_error, *prior; /* variances: (n,), (n,), (k, k) */
    const double *forgetting;                                  /* (k,) time constants */
    const double *sticking;                                    /* (n,) variance of e at rest */
    const double *mass, *added, *deficit, *input_map, *impulse, *guess;      /* of one prediction */
    const double *acting, *smooth, *effort_std, *gain, *about;
    const double *innovation, *variance, *common, *by_acceleration;    /* of one correction */
    double *by_d, *by_z, *by_effort;                                   /* (n, n), (n, k), (n, nu) of a prediction */
    double *white, *response;                                          /* (3 + 2n,), (3 + 2n, nu) of a correction */
    double *scratch;
} Filter;

static inline double dot(const double *x, const double *y, long count) {
    double sum = 0.0, sums[LANES] = {0.0};
    long j = 0;
    for (; j + LANES <= count; j += LANES)
        for (long l = 0; l < LANES; ++l) sums[l] += x[j + l] * y[j + l];
    for (; j < count; ++j) sum += x[j] * y[j];
    for (long l = 0; l < LANES; ++l) sum += sums[l];
    return sum;
}

/* y += a x for `height` rows of a (·, inner) and LANES columns of x (inner, ·), which stay in registers.
 * Columns before `from` stay as they are. */
static inline __attribute__((always_inline)) void tile(
    double *y, const double *a, const double *x, const long height, long inner, long stride, long from) {
    unaligned_lanes sum[4];
    for (long r = 0; r < height; ++r) sum[r] = *(unaligned_lanes *)(y + r * stride);
    for (long l = 0; l < inner; ++l) {
        const unaligned_lanes column = *(const unaligned_lanes *)(x + l * stride);
        for (long r = 0; r < height; ++r) sum[r] += a[r * inner + l] * column;
    }
    for (long r = 0; r < height; ++r)
        if (from == 0) *(unaligned_lanes *)(y + r * stride) = sum[r];
        else for (long c = from; c < LANES; ++c) y[r * stride + c] = sum[r][c];
}

static void tiles(double *y, const double *a, const double *x, long rows, long inner, long stride, long from) {
    for (; rows >= 4; rows -= 4, y += 4 * stride, a += 4 * inner) tile(y, a, x, 4, inner, stride, from);
    if (rows == 3) tile(y, a, x, 3, inner, stride, from);
    if (rows == 2) tile(y, a, x, 2, inner, stride, from);
    if (rows == 1) tile(y, a, x, 1, inner, stride, from);
}

/* y += a x for a (rows, inner), x (inner, columns), y (rows, columns); rows of x and y are `stride` apart. */
static void product(double *y, const double *a, const double *x, long rows, long inner, long columns, long stride) {
    const long last = columns - LANES, rest = columns % LANES;
    if (last < 0) {
        for (long i = 0; i < rows; ++i)
            for (long l = 0; l < inner; ++l) add(y + i * stride, a[i * inner + l], x + l * stride, columns);
        return;
    }
    if (rest) tiles(y + last, a, x + last, rows, inner, stride, LANES - rest);
    for (long j = 0; j <= last; j += LANES) tiles(y + j, a, x + j, rows, inner, stride, 0);
}

/* Rows (size, stride) hold a symmetric matrix S and W beside it. They become Lᵀ and L⁻¹ W with S = L Lᵀ.
 * Returns 0 if S is not positive definite.
 * Only the upper half of S is read; entries below the diagonal are meaningless. The stride is a multiple of LANES. */
static int whiten(double *rows, long size, long stride) {
    for (long i = 0; i < size; ++i) {
        double *row = rows + i * stride;
        const long first = i / LANES * LANES;
        for (long j = 0; j < i; ++j) {
            const double *above = rows + j * stride, factor = above[i];
            for (long c = first; c < stride; c += LANES)
                *(unaligned_lanes *)(row + c) -= factor * *(const unaligned_lanes *)(above + c);
        }
        if (!(row[i] > 0.0)) return 0;
        const double scale = 1.0 / sqrt(row[i]);
        for (long c = first; c < stride; c += LANES) *(unaligned_lanes *)(row + c) *= scale;
    }
    return 1;
}

/* (M + M_z)⁻¹, or M⁻¹ while the estimate of M_z is not physical. */
static void invert_inertia(const Filter *f, double *inverse) {
    const long n = f->n, stride = rounded_up(2 * n, LANES);
    double rows[n * stride];
    for (int with_added = 1; with_added >= 0; --with_added) {
        memset(rows, 0, sizeof rows);
        for (long i = 0; i < n; ++i) {
            for (long j = 0; j < n; ++j) rows[i * stride + j] = f->mass[i * n + j] + with_added * f->added[i * n + j];
            rows[i * stride + n + i] = 1.0;
        }
        if (whiten(rows, n, stride)) break;
    }
    memset(inverse, 0, n * n * sizeof(double));
    for (long l = 0; l < n; ++l)
        for (long i = 0; i <= l; ++i) add(inverse + i * n, rows[l * stride + n + i], rows + l * stride + n, n);
}

/* Process noise: d drifts, e decays, z is forgotten. */
static void process_noise(const Filter *f, const double *before, double *after, double dt, double fade) {
    const long n = f->n, k = f->k, m = 4 * n + k;
    const double *p_0 = before + m;
    double *p = after + m, *keep = f->scratch, *renewed = keep + m;
    memcpy(after, before, m * sizeof(double));
    for (long i = 0; i < 4 * n; ++i) keep[i] = i < 3 * n ? 1.0 : fade;
    for (long i = 0; i < k; ++i) {
        keep[4 * n + i] = exp(-dt / f->forgetting[i]);
        renewed[i] = sqrt(-expm1(-2.0 * dt / f->forgetting[i]));
    }
    for (long i = 0; i < m; ++i)
        for (long j = 0; j < m; ++j) p[i * m + j] = keep[i] * keep[j] * p_0[i * m + j];
    for (long i = 0; i < n; ++i) {
        const long d = 2 * n + i, e = 3 * n + i;
        const double ratio = before[n + i] / f->stiction_velocity;
        const double sticking = f->sticking[i] * exp(-ratio * ratio);
        after[e] *= fade;
        p[d * m + d] += f->drift[i] * dt;
        p[e * m + e] += (1.0 - fade * fade) * (f->model_error[i] + sticking);
    }
    for (long i = 0; i < k; ++i) {
        double *row = p + (4 * n + i) * m + 4 * n;
        for (long j = 0; j < k; ++j) row[j] += renewed[i] * renewed[j] * f->prior[i * k + j];
    }
}

/* F times a matrix with rows (q, v, d, e, z) and `columns` columns:
 * δq_1 = δq_0 + dt/2 (δv_0 + δv_1), δv_1 = δv_0 + by_d (δd + δe) + by_z δz. */
static void move(const Filter *f, double *p, double dt, long columns) {
    const long n = f->n, k = f->k, m = 4 * n + k;
    double *q = p, *v = p + n * m, *d = p + 2 * n * m, *e = p + 3 * n * m, *z = p + 4 * n * m;
    double *disturbed = f->scratch, *v_1 = disturbed + n * m;
    for (long i = 0; i < n * m; i += m)
        for (long j = i; j < i + columns; ++j) {
            disturbed[j] = d[j] + e[j];
            v_1[j] = v[j];
        }
    product(v_1, f->by_d, disturbed, n, n, columns, m);
    product(v_1, f->by_z, z, n, k, columns, m);
    for (long i = 0; i < n * m; i += m)
        for (long j = i; j < i + columns; ++j) {
            q[j] += 0.5 * dt * (v[j] + v_1[j]);
            v[j] = v_1[j];
        }
}

/* P ← F (F P)ᵀ = F P Fᵀ. F changes only the rows of q and v; by symmetry their columns are copied from them. */
static void propagate(const Filter *f, double *p, double dt) {
    const long n = f->n, m = 4 * n + f->k;
    move(f, p, dt, m);
    for (long i = 0; i < 2 * n; ++i)
        for (long j = i + 1; j < m; ++j) {
            const double below = p[j * m + i];
            p[j * m + i] = p[i * m + j];
            if (j < 2 * n) p[i * m + j] = below;
        }
    move(f, p, dt, 2 * n);
}

void predict(const Filter *f, const double *before, double *after, double dt, double fade) {
    const long n = f->n, nu = f->nu, k = f->k, m = 4 * n + k;
    double command[nu], missing[n], by_command[n * nu];
    invert_inertia(f, f->by_d);
    for (long i = 0; i < nu; ++i) command[i] = f->acting[i] + f->gain[i] * (f->acting[i] - f->smooth[i]);
    for (long i = 0; i < n; ++i) {
        const double force = dot(f->input_map + i * nu, command, nu) + before[2 * n + i] + before[3 * n + i];
        missing[i] = f->deficit[i] + dt * force + dot(f->impulse + i * k, f->about, k);
    }
    process_noise(f, before, after, dt, fade);
    memset(f->by_z, 0, n * k * sizeof(double));
    memset(by_command, 0, n * nu * sizeof(double));
    product(f->by_z, f->by_d, f->impulse, n, n, k, k);
    for (long i = 0; i < n; ++i) {
        const double *by_z = f->by_z + i * k;
        double v_1 = f->guess[i] + dot(f->by_d + i * n, missing, n);
        for (long j = 0; j < k; ++j) v_1 += by_z[j] * (before[4 * n + j] - f->about[j]);
        after[n + i] = v_1;
        after[i] += 0.5 * dt * (before[n + i] + v_1);
        for (long j = 0; j < n; ++j) f->by_d[i * n + j] *= dt;
        for (long j = 0; j < n; ++j) add(by_command + i * nu, f->by_d[i * n + j], f->input_map + j * nu, nu);
        for (long j = 0; j < nu; ++j) f->by_effort[i * nu + j] = by_command[i * nu + j] * (1.0 + f->gain[j]);
    }
    double *p = after + m;
    propagate(f, p, dt);
    for (long i = 0; i < n; ++i)
        for (long j = 0; j < n; ++j) { /* an effort's error moves v, and q by dt/2 times as much */
            double spread = 0.0;
            for (long l = 0; l < nu; ++l)
                spread += by_command[i * nu + l] * f->effort_std[l] * f->effort_std[l] * by_command[j * nu + l];
            p[i * m + j] += 0.25 * dt * dt * spread;
            p[i * m + n + j] += 0.5 * dt * spread;
            p[(n + i) * m + j] += 0.5 * dt * spread;
            p[(n + i) * m + n + j] += spread;
        }
}

/* P ← P - Wᵀ W for W (size, ·) with rows `stride` apart: the lower half in tiles, then mirrored to the upper half. */
static void reduce(double *p, const double *w, long m, long size, long stride) {
    for (long i = 0; i < m; i += 4)
        for (long j = 0; j < m && j < i + 4; j += LANES) {
            unaligned_lanes sum[4] = {{0.0}};
            for (long l = 0; l < size; ++l) {
                const double *row = w + l * stride;
                for (long r = 0; r < 4; ++r) sum[r] += row[i + r] * *(const unaligned_lanes *)(row + j);
            }
            for (long r = 0; r < 4 && i + r < m; ++r) {
                double *left = p + (i + r) * m + j;
                if (j + LANES <= m) *(unaligned_lanes *)left -= sum[r];
                else for (long c = 0; j + c < m; ++c) left[c] -= sum[r][c];
            }
        }
    for (long i = 1; i < m; ++i)
        for (long j = 0; j < i; ++j) p[j * m + i] = p[i * m + j];
}

/* Rows of the accelerometer, laid out as those of q and v in `correct`: its response to the state, (3, m) times P,
 * and to efforts. */
static void accelerometer_rows(const Filter *f, const double *before, const double *after, double dt, double *rows, long stride) {
    const long n = f->n, nu = f->nu, k = f->k, m = 4 * n + k, size = 2 * n + 3;
    const double *p = after + m;
    double by_v[3 * n], by_d[3 * n], by_z[3 * k + 1], reach[3 * m];
    memset(by_d, 0, sizeof by_d);
    memset(by_z, 0, sizeof by_z);
    memset(reach, 0, sizeof reach);
    for (long i = 0; i < 3 * n; ++i) by_v[i] = f->by_acceleration[i] / dt;
    product(by_d, by_v, f->by_d, 3, n, n, n);
    product(by_z, by_v, f->by_z, 3, n, k, k);
    product(reach, by_d, p + 2 * n * m, 3, n, m, m);
    product(reach, by_d, p + 3 * n * m, 3, n, m, m);
    product(reach, by_z, p + 4 * n * m, 3, k, m, m);
    for (long i = 0; i < 3; ++i) {
        double *row = rows + (2 * n + i) * stride, *seen = reach + i * m;
        for (long j = 0; j < 2 * n; ++j) rows[j * stride + 2 * n + i] = seen[j];
        for (long j = i; j < 3; ++j) {
            const double *d = by_d + j * n, *z = by_z + j * k;
            row[2 * n + j] = dot(seen + 2 * n, d, n) + dot(seen + 3 * n, d, n) + dot(seen + 4 * n, z, k);
        }
        row += size;
        row[0] = f->innovation[2 * n + i];
        for (long j = 0; j < n; ++j) {
            row[0] -= by_v[i * n + j] * (after[n + j] - before[n + j]);
            add(row + 1, by_v[i * n + j], f->by_effort + j * nu, nu);
        }
        memcpy(row + 1 + nu, seen, m * sizeof(double));
    }
}

/* Returns the log-likelihood up to a constant; NaN if the innovations' covariance is not positive definite. */
double correct(const Filter *f, const double *before, double *after, double dt, long accelerometer) {
    const long n = f->n, nu = f->nu, k = f->k, m = 4 * n + k, size = accelerometer ? 2 * n + 3 : 2 * n;
    /* Columns of a row: covariance, innovation, by_effort, reach. */
    const long first = size + 1 + nu, stride = rounded_up(first + m + LANES, LANES);
    double *rows = f->scratch, *p = after + m, likelihood = 0.0;
    memset(rows, 0, size * stride * sizeof(double));
    for (long i = 0; i < 2 * n; ++i) {
        double *row = rows + i * stride;
        memcpy(row, p + i * m, 2 * n * sizeof(double));
        row[size] = f->innovation[i];
        for (long j = 0; j < nu; ++j) row[size + 1 + j] = (i < n ? 0.5 * dt : 1.0) * f->by_effort[i % n * nu + j];
        memcpy(row + first, p + i * m, m * sizeof(double));
    }
    if (accelerometer) accelerometer_rows(f, before, after, dt, rows, stride);
    for (long i = 0; i < size; ++i) {
        rows[i * stride + i] += f->variance[i];
        if (f->common[i] != 0.0) add(rows + i * stride, f->common[i], f->common, size);
    }
    if (!whiten(rows, size, stride)) return NAN;
    for (long i = 0; i < size; ++i) {
        const double *row = rows + i * stride, white = row[size];
        f->white[i] = white;
        memcpy(f->response + i * nu, row + size + 1, nu * sizeof(double));
        add(after, white, row + first, m);
        likelihood -= 0.5 * white * white + log(row[i]);
    }
    reduce(p, rows + first, m, size, stride);
    return likelihood;
}
