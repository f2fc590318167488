// SPDX-License-Identifier: Apache-2.0
/* The quadratic programme of riccati_qp.py: sweeps and pivoting. kernel.py defines the sizes N, M, HORIZON, NNZ_A,
   NNZ_B and the settings MAX_ROUNDS, PATIENCE, TOLERANCE before this text. */

#include "kernel.h"

/* A row of n numbers is W vectors of LANES, padded with zeros; matrices have a multiple of four rows. */
enum { W = (N + LANES - 1) / LANES, ROWS = LANES * W, ROWS_U = (M + 3) / 4 * 4 };
typedef lanes row[W];

/* An array in any memory layout; `get` reads entry i at knot k. */
typedef struct {
    const double *at;
    long knot, entry;
} view;

typedef struct stage {
    row a[ROWS], b[ROWS_U]; /* A and B' */
    row g_x[ROWS_U], gain[ROWS_U];
    double c[N], g_u[ROWS_U][ROWS_U], g[M], step[M];
} stage;

static inline double get(const view *v, long k, long i) { return v->at[k * v->knot + i * v->entry]; }
static inline double *numbers(row *x) { return (double *)x; }

static inline double dot(const row x, const row y) {
    lanes sum = x[0] * y[0];
    for (int w = 1; w < W; ++w) sum += x[w] * y[w];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* out += L right with L_ik = left[i * by_row + k * by_column]: four rows at a time stay in registers. */
static inline void add_product(row *out, int rows, const double *left, int by_row, int by_column, const row *right,
                               int inner) {
    for (int i = 0; i < rows; i += 4) {
        row sum[4];
        memcpy(sum, out + i, sizeof sum);
        for (int k = 0; k < inner; ++k)
            for (int r = 0; r < 4; ++r)
                for (int w = 0; w < W; ++w) sum[r][w] += left[(i + r) * by_row + k * by_column] * right[k][w];
        memcpy(out + i, sum, sizeof sum);
    }
}

static void load(stage *s, long k, const view *linear, const int *places) {
    memset(s->a, 0, sizeof s->a);
    memset(s->b, 0, sizeof s->b);
    for (int i = 0; i < NNZ_A; ++i) numbers(s->a)[places[i] / N * ROWS + places[i] % N] = get(&linear[0], k, i);
    for (int i = 0; i < NNZ_B; ++i)
        numbers(s->b)[places[NNZ_A + i] % M * ROWS + places[NNZ_A + i] / M] = get(&linear[1], k, i);
    for (int i = 0; i < N; ++i) s->c[i] = get(&linear[2], k, i);
}

/* u = gain x + step is the minimum over the free inputs; fixed inputs have their values.
   By Cholesky factors L L' of the free part. */
static void policy(stage *s, const signed char *active, const double *lower, const double *upper) {
    double l[M][M], known[M];
    for (int i = 0; i < M; ++i) known[i] = active[i] > 0 ? upper[i] : active[i] < 0 ? lower[i] : 0.0;
    for (int j = 0; j < M; ++j)
        for (int i = j; i < M; ++i) {
            double x = active[i] || active[j] ? i == j : s->g_u[i][j];
            for (int k = 0; k < j; ++k) x -= l[i][k] * l[j][k];
            l[i][j] = i == j ? 1.0 / sqrt(x) : x * l[j][j]; /* the diagonal is stored inverted */
        }
    for (int i = 0; i < M; ++i) {
        double x = s->g[i];
        for (int j = 0; j < M; ++j) x += s->g_u[i][j] * known[j];
        s->step[i] = active[i] ? known[i] : -x;
        for (int w = 0; w < W; ++w) s->gain[i][w] = active[i] ? (lanes){} : -s->g_x[i][w];
    }
    for (int i = 0; i < M; ++i) {
        for (int k = 0; k < i; ++k) {
            s->step[i] -= l[i][k] * s->step[k];
            for (int w = 0; w < W; ++w) s->gain[i][w] -= l[i][k] * s->gain[k][w];
        }
        s->step[i] *= l[i][i];
        for (int w = 0; w < W; ++w) s->gain[i][w] *= l[i][i];
    }
    for (int i = M - 1; i >= 0; --i) {
        for (int k = i + 1; k < M; ++k) {
            s->step[i] -= l[k][i] * s->step[k];
            for (int w = 0; w < W; ++w) s->gain[i][w] -= l[k][i] * s->gain[k][w];
        }
        s->step[i] *= l[i][i];
        for (int w = 0; w < W; ++w) s->gain[i][w] *= l[i][i];
    }
}

/* Cost-to-go 1/2 x' P x + p' x from a stage's end to its start. */
static void backward(stage *s, row *cost, row slope, const double *q, const double *r, const double *error,
                     const double *offset, const signed char *active, const double *lower, const double *upper) {
    row by_a[ROWS] = {0}, by_b[ROWS_U] = {0}, before[ROWS] = {0}, ahead, slope_before = {0};
    memcpy(ahead, slope, sizeof ahead);
    add_product(by_a, ROWS, numbers(cost), ROWS, 1, s->a, N);
    add_product(by_b, ROWS_U, numbers(s->b), ROWS, 1, cost, N); /* P is symmetric */
    memset(s->g_x, 0, sizeof s->g_x);
    add_product(s->g_x, ROWS_U, numbers(by_b), ROWS, 1, s->a, N);
    for (int k = 0; k < N; ++k)
        for (int w = 0; w < W; ++w) ahead[w] += s->c[k] * cost[k][w];
    for (int i = 0; i < M; ++i) {
        for (int j = 0; j <= i; ++j) s->g_u[i][j] = s->g_u[j][i] = dot(by_b[i], s->b[j]) + (i == j ? r[i] : 0.0);
        s->g[i] = dot(s->b[i], ahead) + r[i] * offset[i];
    }
    policy(s, active, lower, upper);
    for (int i = 0; i < N; ++i) {
        numbers(before)[i * ROWS + i] = q[i];
        slope_before[i / LANES][i % LANES] = q[i] * error[i];
    }
    add_product(before, ROWS, numbers(s->a), 1, ROWS, by_a, N);
    add_product(before, ROWS, numbers(s->g_x), 1, ROWS, s->gain, M);
    for (int k = 0; k < N; ++k)
        for (int w = 0; w < W; ++w) slope_before[w] += ahead[k / LANES][k % LANES] * s->a[k][w];
    for (int k = 0; k < M; ++k)
        for (int w = 0; w < W; ++w) slope_before[w] += s->step[k] * s->g_x[k][w];
    memcpy(cost, before, sizeof before);
    memcpy(slope, slope_before, sizeof slope_before);
}

/* State x from a stage's start to its end; u and the gradient by u. */
static void forward(const stage *s, const double *x, double *after, double *u, double *gradient) {
    row here = {0};
    memcpy(here, x, N * sizeof *x);
    memcpy(after, s->c, sizeof s->c);
    for (int i = 0; i < M; ++i) u[i] = s->step[i] + dot(s->gain[i], here);
    for (int i = 0; i < M; ++i) {
        gradient[i] = s->g[i] + dot(s->g_x[i], here);
        for (int j = 0; j < M; ++j) gradient[i] += s->g_u[i][j] * u[j];
    }
    for (int i = 0; i < N; ++i) {
        after[i] += dot(s->a[i], here);
        for (int j = 0; j < M; ++j) after[i] += s->b[j][i / LANES][i % LANES] * u[j];
    }
}

static void sweep(stage *stages, const view *errors, const double *q, const double *r, const double *terminal,
                  const double *offsets, const double *lower, const double *upper, const signed char *active,
                  double *states, double *inputs, double *gradients) {
    row cost[ROWS] = {0}, slope = {0};
    double error[N];
    for (int i = 0; i < N; ++i) error[i] = get(errors, HORIZON, i);
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
            numbers(cost)[i * ROWS + j] = terminal[i * N + j];
            slope[i / LANES][i % LANES] += terminal[i * N + j] * error[j];
        }
    for (int k = HORIZON - 1; k >= 0; --k) {
        for (int i = 0; i < N; ++i) error[i] = get(errors, k, i);
        backward(&stages[k], cost, slope, q, r, error, &offsets[k * M], &active[k * M], &lower[k * M], &upper[k * M]);
    }
    memset(states, 0, N * sizeof *states);
    for (int k = 0; k < HORIZON; ++k)
        forward(&stages[k], &states[k * N], &states[(k + 1) * N], &inputs[k * M], &gradients[k * M]);
}

/* Finds the inputs that violate an optimality condition: wrong[i] = new active state (-1, 0, 1), else 2.
   Returns their number. */
static int examine(const double *r, const double *lower, const double *upper, const signed char *active,
                   const double *inputs, const double *gradients, signed char *wrong) {
    int count = 0;
    for (int i = 0; i < HORIZON * M; ++i) {
        double slack = TOLERANCE * (upper[i] - lower[i]);
        signed char to = 2;
        if (active[i]) {
            if (gradients[i] * active[i] > TOLERANCE * r[i % M]) to = 0;
        } else if (inputs[i] > upper[i] + slack) {
            to = 1;
        } else if (inputs[i] < lower[i] - slack) {
            to = -1;
        }
        wrong[i] = to;
        count += to != 2;
    }
    return count;
}

/* Returns the number of sweeps, or 0 if the optimality conditions do not hold at the end.
   `active` is the initial guess and the result. */
int solve(const view *linear, const int *places, const double *q, const double *r, const double *terminal,
          const double *offsets, const double *lower, const double *upper, signed char *active, double *states,
          double *inputs) {
    stage stages[HORIZON];
    double gradients[HORIZON * M];
    signed char wrong[HORIZON * M];
    int fewest = HORIZON * M + 1, patience = PATIENCE;
    for (int k = 0; k < HORIZON; ++k) load(&stages[k], k, linear, places);
    for (int round = 1; round <= MAX_ROUNDS; ++round) {
        sweep(stages, &linear[3], q, r, terminal, offsets, lower, upper, active, states, inputs, gradients);
        int count = examine(r, lower, upper, active, inputs, gradients, wrong);
        if (count == 0) return round;
        patience = count < fewest ? PATIENCE : patience - 1;
        if (count < fewest) fewest = count;
        for (int i = 0; i < HORIZON * M; ++i) {
            if (wrong[i] == 2) continue;
            active[i] = wrong[i];
            if (patience < 0) break;
        }
    }
    return 0;
}
