/* The dense algebra of momentum_filter.py. Matrices are row-major; filter_algebra.py says what each is, and has the same in numpy.
 *
 * A state is its mean (m,) followed by its covariance (m, m), m = 4n + k, in the order (q, v, d, e, z).
 */
#include <math.h>
#include <string.h>

#define BLOCK 8

typedef double lanes __attribute__((vector_size(8 * BLOCK), aligned(8), may_alias));

typedef struct {
    long n, nu, k;
    double stiction, stiction_velocity;
    const double *drift, *model_error, *prior;                               /* variances: (n,), (n,), (k, k) */
    const double *mass, *added, *deficit, *input_map, *impulse, *guess;      /* of one prediction */
    const double *acting, *smooth, *doubt, *gain, *about;
    const double *innovation, *variance, *by_acceleration;                   /* of one correction */
    double *by_d, *by_z, *by_effort;                                         /* (n, n), (n, k), (n, nu) of the last prediction */
    double *white, *response;                                                /* (3 + 2n,), (3 + 2n, nu) of the last correction */
    double *scratch;
} Filter;

/* y += a x */
static inline void add(double *restrict y, double a, const double *restrict x, long count) {
    for (long j = 0; j < count; ++j) y[j] += a * x[j];
}

static inline double dot(const double *x, const double *y, long count) {
    double sum = 0.0, lanes[BLOCK] = {0.0};
    long j = 0;
    for (; j + BLOCK <= count; j += BLOCK)
        for (long l = 0; l < BLOCK; ++l) lanes[l] += x[j + l] * y[j + l];
    for (; j < count; ++j) sum += x[j] * y[j];
    for (long l = 0; l < BLOCK; ++l) sum += lanes[l];
    return sum;
}

/* y += a x for `height` rows of a (·, inner) and BLOCK columns of x (inner, ·): what stays in registers. */
static inline __attribute__((always_inline)) void tile(double *y, const double *a, const double *x, const long height, long inner, long stride) {
    lanes sum[4];
    for (long r = 0; r < height; ++r) sum[r] = *(lanes *)(y + r * stride);
    for (long l = 0; l < inner; ++l) {
        const lanes column = *(const lanes *)(x + l * stride);
        for (long r = 0; r < height; ++r) sum[r] += a[r * inner + l] * column;
    }
    for (long r = 0; r < height; ++r) *(lanes *)(y + r * stride) = sum[r];
}

/* y += a x for a (rows, inner), x (inner, columns), y (rows, columns) */
static void product(double *y, const double *a, const double *x, long rows, long inner, long columns) {
    long j = 0;
    for (; j + BLOCK <= columns; j += BLOCK) {
        long i = 0;
        for (; i + 4 <= rows; i += 4) tile(y + i * columns + j, a + i * inner, x + j, 4, inner, columns);
        for (; i < rows; ++i) tile(y + i * columns + j, a + i * inner, x + j, 1, inner, columns);
    }
    for (long i = 0; i < rows; ++i)
        for (long l = 0; l < inner; ++l)
            for (long c = j; c < columns; ++c) y[i * columns + c] += a[i * inner + l] * x[l * columns + c];
}

/* Lower factor of a symmetric matrix (size, size), of which the lower half is read; 0 where it is not positive definite. */
static int cholesky(double *a, long size) {
    for (long i = 0; i < size; ++i)
        for (long j = 0; j <= i; ++j) {
            const double left = a[i * size + j] - dot(a + i * size, a + j * size, j);
            if (i == j && !(left > 0.0)) return 0;
            a[i * size + j] = i == j ? sqrt(left) : left / a[j * size + j];
        }
    return 1;
}

/* rows ← L⁻¹ rows, (size, stride) */
static void forward(const double *factor, double *rows, long size, long stride) {
    for (long i = 0; i < size; ++i) {
        double *row = rows + i * stride;
        for (long j = 0; j < i; ++j) add(row, -factor[i * size + j], rows + j * stride, stride);
        const double scale = 1.0 / factor[i * size + i];
        for (long j = 0; j < stride; ++j) row[j] *= scale;
    }
}

/* (M + M_z)⁻¹, or M⁻¹ while the estimate of M_z is not physical. */
static void invert_inertia(const Filter *f, double *inverse, double *factor, double *rows) {
    const long n = f->n;
    for (long i = 0; i < n * n; ++i) factor[i] = f->mass[i] + f->added[i];
    if (!cholesky(factor, n)) {
        memcpy(factor, f->mass, n * n * sizeof(double));
        cholesky(factor, n);
    }
    memset(rows, 0, n * n * sizeof(double));
    for (long i = 0; i < n; ++i) rows[i * n + i] = 1.0;
    forward(factor, rows, n, n);
    memset(inverse, 0, n * n * sizeof(double));
    for (long l = 0; l < n; ++l)
        for (long i = 0; i <= l; ++i) add(inverse + i * n, rows[l * n + i], rows + l * n, n);
}

/* What d, e and z may do on their own: drift, fade, be forgotten. */
static void wander(const Filter *f, const double *before, double *after, double dt, double fade, double forget) {
    const long n = f->n, k = f->k, m = 4 * n + k;
    const double *p_0 = before + m;
    double *p = after + m, *keep = f->scratch;
    memcpy(after, before, m * sizeof(double));
    for (long i = 0; i < m; ++i) keep[i] = i < 3 * n ? 1.0 : i < 4 * n ? fade : forget;
    for (long i = 0; i < m; ++i)
        for (long j = 0; j < m; ++j) p[i * m + j] = keep[i] * keep[j] * p_0[i * m + j];
    for (long i = 0; i < n; ++i) {
        const long d = 2 * n + i, e = 3 * n + i;
        const double ratio = before[n + i] / f->stiction_velocity, sticking = f->stiction * f->stiction * exp(-ratio * ratio);
        after[e] *= fade;
        p[d * m + d] += f->drift[i] * dt;
        p[e * m + e] += (1.0 - fade * fade) * f->model_error[i] * (1.0 + sticking);
    }
    for (long i = 0; i < k; ++i) add(p + (4 * n + i) * m + 4 * n, 1.0 - forget * forget, f->prior + i * k, k);
}

/* P ← F P Fᵀ with δq_1 = δq_0 + dt/2 (δv_0 + δv_1), δv_1 = δv_0 + by_d (δd + δe) + by_z δz. */
static void propagate(const Filter *f, double *p, double dt) {
    const long n = f->n, k = f->k, m = 4 * n + k;
    double *disturbed = f->scratch, *v_1 = disturbed + n * m;
    for (long i = 0; i < n; ++i)
        for (long j = 0; j < m; ++j) disturbed[i * m + j] = p[(2 * n + i) * m + j] + p[(3 * n + i) * m + j];
    memcpy(v_1, p + n * m, n * m * sizeof(double));
    product(v_1, f->by_d, disturbed, n, n, m);
    product(v_1, f->by_z, p + 4 * n * m, n, k, m);
    for (long i = 0; i < n; ++i)
        for (long j = 0; j < m; ++j) p[i * m + j] += 0.5 * dt * (p[(n + i) * m + j] + v_1[i * m + j]);
    memcpy(p + n * m, v_1, n * m * sizeof(double));
    for (long i = 0; i < 2 * n; ++i) {
        double *row = p + i * m, sum[n], moved[n];
        for (long j = 0; j < n; ++j) sum[j] = row[2 * n + j] + row[3 * n + j];
        for (long j = 0; j < n; ++j) moved[j] = row[n + j] + dot(f->by_d + j * n, sum, n) + dot(f->by_z + j * k, row + 4 * n, k);
        for (long j = 0; j < n; ++j) row[j] += 0.5 * dt * (row[n + j] + moved[j]);
        memcpy(row + n, moved, n * sizeof(double));
    }
    for (long i = 2 * n; i < m; ++i)
        for (long j = 0; j < 2 * n; ++j) p[i * m + j] = p[j * m + i];
}

void predict(const Filter *f, const double *before, double *after, double dt, double fade, double forget) {
    const long n = f->n, nu = f->nu, k = f->k, m = 4 * n + k;
    double command[nu], missing[n], by_command[n * nu];
    invert_inertia(f, f->by_d, f->scratch, f->scratch + n * n);
    for (long i = 0; i < nu; ++i) command[i] = f->acting[i] + f->gain[i] * (f->acting[i] - f->smooth[i]);
    for (long i = 0; i < n; ++i) {
        const double force = dot(f->input_map + i * nu, command, nu) + before[2 * n + i] + before[3 * n + i];
        missing[i] = f->deficit[i] + dt * force + dot(f->impulse + i * k, f->about, k);
    }
    wander(f, before, after, dt, fade, forget);
    memset(f->by_z, 0, n * k * sizeof(double));
    memset(by_command, 0, n * nu * sizeof(double));
    product(f->by_z, f->by_d, f->impulse, n, n, k);
    for (long i = 0; i < n; ++i) {
        const double *by_z = f->by_z + i * k;
        double v_1 = f->guess[i] + dot(f->by_d + i * n, missing, n);
        for (long j = 0; j < k; ++j) v_1 += by_z[j] * (before[4 * n + j] - f->about[j]);
        after[n + i] = v_1;
        for (long j = 0; j < n; ++j) f->by_d[i * n + j] *= dt;
        for (long j = 0; j < n; ++j) add(by_command + i * nu, f->by_d[i * n + j], f->input_map + j * nu, nu);
        for (long j = 0; j < nu; ++j) f->by_effort[i * nu + j] = by_command[i * nu + j] * (1.0 + f->gain[j]);
    }
    double *p = after + m;
    propagate(f, p, dt);
    for (long i = 0; i < n; ++i)
        for (long j = 0; j < n; ++j)
            for (long l = 0; l < nu; ++l)
                p[(n + i) * m + n + j] += by_command[i * nu + l] * f->doubt[l] * f->doubt[l] * by_command[j * nu + l];
}

/* P ← P - Wᵀ W for W (size, stride), of which the columns from `first` on are meant. */
static void reduce(double *p, const double *w, long m, long size, long stride, long first) {
    for (long i = 0; i < m; i += 4)
        for (long j = 0; j < m && j < i + 4; j += BLOCK) {
            lanes sum[4] = {{0.0}};
            for (long l = 0; l < size; ++l) {
                const double *row = w + l * stride + first;
                for (long r = 0; r < 4; ++r) sum[r] += row[i + r] * *(const lanes *)(row + j);
            }
            for (long r = 0; r < 4 && i + r < m; ++r)
                for (long c = 0; c < BLOCK && j + c <= i + r; ++c)
                    p[(j + c) * m + i + r] = p[(i + r) * m + j + c] -= sum[r][c];
        }
}

/* Returns the log-likelihood, but for a constant; not a number where the innovations' covariance is not positive definite. */
double correct(const Filter *f, const double *before, double *after, double dt, long felt) {
    const long n = f->n, nu = f->nu, k = f->k, m = 4 * n + k, size = felt ? 2 * n + 3 : 2 * n;
    const long first = 1 + nu, stride = (first + m + 2 * BLOCK - 1) / BLOCK * BLOCK; /* a row: innovation, by_effort, reach */
    double *rows = f->scratch, *spread = rows + size * stride, *p = after + m;
    memset(rows, 0, size * stride * sizeof(double));
    for (long i = 0; i < 2 * n; ++i) {
        double *row = rows + i * stride;
        row[0] = f->innovation[i];
        for (long j = 0; j < nu; ++j) row[1 + j] = (i < n ? 0.5 * dt : 1.0) * f->by_effort[i % n * nu + j];
        memcpy(row + first, p + i * m, m * sizeof(double));
    }
    double by_d[3 * n], by_z[3 * k + 1];
    if (felt) {
        memset(by_d, 0, sizeof by_d);
        memset(by_z, 0, sizeof by_z);
        for (long i = 0; i < 3; ++i) {
            double *row = rows + (2 * n + i) * stride;
            row[0] = f->innovation[2 * n + i];
            for (long j = 0; j < n; ++j) {
                const double by_v = f->by_acceleration[i * n + j] / dt;
                row[0] -= by_v * (after[n + j] - before[n + j]);
                add(row + 1, by_v, f->by_effort + j * nu, nu);
                add(by_d + i * n, by_v, f->by_d + j * n, n);
                add(by_z + i * k, by_v, f->by_z + j * k, k);
            }
            for (long j = 0; j < n; ++j) add(row + first, by_d[i * n + j], p + (2 * n + j) * m, m);
            for (long j = 0; j < n; ++j) add(row + first, by_d[i * n + j], p + (3 * n + j) * m, m);
            for (long j = 0; j < k; ++j) add(row + first, by_z[i * k + j], p + (4 * n + j) * m, m);
        }
    }
    for (long i = 0; i < size; ++i) {
        const double *reach = rows + i * stride + first;
        for (long j = 0; j <= i; ++j) {
            const double *d = by_d + (j - 2 * n) * n, *z = by_z + (j - 2 * n) * k;
            spread[i * size + j] = j < 2 * n ? reach[j] : dot(reach + 2 * n, d, n) + dot(reach + 3 * n, d, n) + dot(reach + 4 * n, z, k);
        }
        spread[i * size + i] += f->variance[i];
    }
    if (!cholesky(spread, size)) return NAN;
    forward(spread, rows, size, stride);
    double likelihood = 0.0;
    for (long i = 0; i < size; ++i) {
        const double *row = rows + i * stride, white = row[0];
        f->white[i] = white;
        memcpy(f->response + i * nu, row + 1, nu * sizeof(double));
        add(after, white, row + first, m);
        likelihood -= 0.5 * white * white + log(spread[i * size + i]);
    }
    reduce(p, rows, m, size, stride, first);
    return likelihood;
}
