// SPDX-License-Identifier: Apache-2.0
/* The perceptron of network.py at all knots at once, in single precision: its outputs, their contraction with a
   context, and the derivatives of the contraction by q and v. compiled_network.py fills the structs.

   Derivatives are back-propagated: one row for each knot and contracted output. At each knot the first layer is folded
   with the derivatives of (sin q, cos q, v / v_max). The right-hand matrices of products are stored in panels as wide
   as a vector register. A tile of ROWS rows and one panel accumulates in registers, close to the processor's peak, and
   reads memory in order. */

#include "kernel.h"

#if defined(__AVX512F__)
#define REGISTER_BYTES 64
#elif defined(__AVX__)
#define REGISTER_BYTES 32
#else
#define REGISTER_BYTES 16
#endif
#define ROWS 7 /* of a tile; matrices have room for a tile that starts at any row */
#define PAD 16 /* rows are padded with zeros to a multiple of this many entries */

typedef float Floats __attribute__((vector_size(REGISTER_BYTES)));
enum { WIDTH = sizeof(Floats) / sizeof(float) };

typedef struct {
    long layers;            /* number of linear layers */
    const long *sizes;      /* (layers + 1) number of inputs, then of each layer's outputs */
    float *const *forward;  /* (layers) Wᵀ in panels */
    float *const *backward; /* (layers) W in panels */
    float *const *biases;   /* (layers) in padded rows */
    float *direct;          /* the first layer's W by (sin q, v / v_max) in panels */
    float *crossed;         /* the first layer's W by cos q in panels; zero for v */
    double *head;           /* the last layer's W (out, in) */
} Network;

typedef struct {
    const Network *network;
    long knots, joints, contexts, outputs;    /* outputs: after contraction */
    float *const *activations;                /* (layers + 1), a padded row for each knot: the inputs, …, the outputs */
    const double *q, *v, *velocity_limit;     /* (knots, joints), (knots, joints), (joints) */
    const double *context;                    /* (contexts) z */
    double *row;                              /* a row of the last hidden layer */
    float *head;                              /* (outputs) padded rows: the head contracted with z */
    float *rows, *spare;                      /* (knots x outputs) padded rows, as wide as the widest layer */
    float *slopes;                            /* one such row */
    float *folded;                            /* shaped as direct */
    double *values, *jacobian;                /* (knots, outputs), (knots, outputs, 3 joints) by q, v and a */
} Work;

static long padded(long size) { return rounded_up(size, PAD); }

/* Index of entry (i, j) in the panels of a matrix with `rows` rows. */
static long in_panels(long rows, long i, long j) { return j / WIDTH * WIDTH * rows + i * WIDTH + j % WIDTH; }

/* y (rows, columns) = a (rows, inner) W, W in panels; `rows` is rounded up to tiles, `columns` to panels. */
static void product(long rows, long inner, long columns, const float *a, long a_stride, const float *w, float *y,
                    long y_stride) {
    for (long column = 0; column < columns; column += WIDTH) {
        const Floats *panel = (const Floats *)(w + column * inner);
        for (long row = 0; row < rows; row += ROWS) {
            const float *left = a + row * a_stride;
            float *out = y + row * y_stride + column;
            Floats sum[ROWS] = {0};
            for (long k = 0; k < inner; k++)
#pragma GCC unroll 7
                for (int i = 0; i < ROWS; i++) sum[i] += left[i * a_stride + k] * panel[k];
#pragma GCC unroll 7
            for (int i = 0; i < ROWS; i++) *(Floats *)(out + i * y_stride) = sum[i];
        }
    }
}

static double dot(const float *a, const float *b, long size) {
    Floats sums = {0};
    double sum = 0.0;
    for (long j = 0; j < size; j += WIDTH) sums += *(const Floats *)(a + j) * *(const Floats *)(b + j);
    for (int i = 0; i < WIDTH; i++) sum += sums[i];
    return sum;
}

/* tanh x = m / (m + 2), m = e^2x - 1, e^2x = 2^n e^r with |r| <= ln 2 / 2, e^r - 1 by its series.
   There are no branches, so that the compiler vectorises it. */
static inline float tanh_series(float x) {
    const float rounding = 0x1.8p23f, bounded = x > 10.0f ? 10.0f : x < -10.0f ? -10.0f : x; /* tanh 10 is 1 */
    const float shifted = bounded * 0x1.715476p+1f + rounding, n = shifted - rounding;
    const float r = (2.0f * bounded - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f; /* ln 2 in two parts */
    float series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r * r + r;
    union {
        float number;
        uint32_t bits;
    } power = {shifted};
    power.bits = (power.bits + 127) << 23;
    const float m = power.number * series + (power.number - 1.0f);
    return m / (m + 2.0f);
}

/* sin q and cos q, good to single precision where |q| is below 1e6: q = n pi + r, and the series of both at
   |r| <= pi / 2. No branches. */
static inline void sine_and_cosine(double q, float *sine, float *cosine) {
    const double rounding = 0x1.8p52, n = (q * 0x1.45f306dc9c883p-2 + rounding) - rounding;
    const double r = (q - n * 0x1.921fb54442d18p+1) - n * 0x1.1a62633145c07p-53, s = r * r; /* pi in two parts */
    const double odd = n - 2.0 * ((0.5 * n + rounding) - rounding), sign = 1.0 - 2.0 * odd * odd;
    const double a_4 = s * (s * (s / 6227020800.0 - 1.0 / 39916800.0) + 1.0 / 362880.0) - 1.0 / 5040.0;
    const double b_4 = s * (s * (s / 479001600.0 - 1.0 / 3628800.0) + 1.0 / 40320.0) - 1.0 / 720.0;
    const double a = s * (s * (s * a_4 + 1.0 / 120.0) - 1.0 / 6.0), b = s * (s * (s * b_4 + 1.0 / 24.0) - 0.5);
    *sine = (float)(sign * (r + r * a));
    *cosine = (float)(sign * (1.0 + b));
}

static void pack(long out, long in, const double *weight, float *forward, float *backward) {
    for (long i = 0; i < out; i++) {
        float *column = forward + in_panels(in, 0, i);
        for (long j = 0; j < in; j++) column[j * WIDTH] = (float)weight[i * in + j];
        for (long j = 0; j < in; j += WIDTH) {
            float *row = backward + in_panels(out, i, j);
            const long count = in - j < WIDTH ? in - j : WIDTH;
            for (long lane = 0; lane < count; lane++) row[lane] = (float)weight[i * in + j + lane];
        }
    }
}

/* Pack the first layer's weight (out, 3 joints) for fold_first_layer. */
static void pack_first(long out, long joints, const double *weight, float *direct, float *crossed) {
    for (long i = 0; i < out; i++, weight += 3 * joints)
        for (long j = 0; j < joints; j++) {
            direct[in_panels(out, i, j)] = (float)weight[j];
            crossed[in_panels(out, i, j)] = (float)weight[joints + j];
            direct[in_panels(out, i, joints + j)] = (float)weight[2 * joints + j];
        }
}

/* Load weights (out, in) and biases (out) of each layer. */
void metarl_load(const Network *net, const double *const *weights, const double *const *biases) {
    const long last = net->layers - 1;
    for (long l = 0; l < net->layers; l++) {
        pack(net->sizes[l + 1], net->sizes[l], weights[l], net->forward[l], net->backward[l]);
        for (long i = 0; i < net->sizes[l + 1]; i++) net->biases[l][i] = (float)biases[l][i];
    }
    pack_first(net->sizes[1], net->sizes[0] / 3, weights[0], net->direct, net->crossed);
    memcpy(net->head, weights[last], net->sizes[last] * net->sizes[net->layers] * sizeof(double));
}

static void inputs_of_joints(const Work *work) {
    const long n = work->joints, count = work->knots * n;
    float *sines = work->rows, *cosines = work->spare;
    for (long j = 0; j < count; j++) sine_and_cosine(work->q[j], sines + j, cosines + j);
    for (long k = 0; k < work->knots; k++) {
        float *x = work->activations[0] + k * padded(3 * n);
        for (long j = 0; j < n; j++) {
            x[j] = sines[k * n + j];
            x[n + j] = cosines[k * n + j];
            x[2 * n + j] = (float)(work->v[k * n + j] / work->velocity_limit[j]);
        }
    }
}

static void linear_layer(const Work *work, long l) {
    const Network *net = work->network;
    const long in = net->sizes[l], out = net->sizes[l + 1];
    float *row = work->activations[l + 1];
    product(work->knots, in, out, work->activations[l], padded(in), net->forward[l], row, padded(out));
    for (long k = 0; k < work->knots; k++, row += padded(out))
        for (long j = 0; j < padded(out); j++) row[j] += net->biases[l][j];
}

static void hidden_layers(const Work *work) {
    const Network *net = work->network;
    for (long l = 0; l + 1 < net->layers; l++) {
        float *a = work->activations[l + 1];
        linear_layer(work, l);
        for (long j = 0; j < work->knots * padded(net->sizes[l + 1]); j++) a[j] = tanh_series(a[j]);
    }
}

/* Contract the head with z, and compute the values. */
static void contract(const Work *work) {
    const Network *net = work->network;
    const long last = net->layers - 1, hidden = net->sizes[last], stride = padded(hidden);
    for (long i = 0; i < work->outputs; i++) {
        float *head = work->head + i * stride;
        double bias = 0.0;
        memset(work->row, 0, hidden * sizeof(double));
        for (long c = 0; c < work->contexts; c++) {
            const double z = work->context[c];
            add(work->row, z, net->head + (i * work->contexts + c) * hidden, hidden);
            bias += z * net->biases[last][i * work->contexts + c];
        }
        for (long j = 0; j < hidden; j++) head[j] = (float)work->row[j];
        for (long k = 0; k < work->knots; k++)
            work->values[k * work->outputs + i] = dot(work->activations[last] + k * stride, head, stride) + bias;
    }
}

/* Multiply the back-propagated rows by the slopes 1 - a² of layer l with activations a. */
static void through_tanh(const Work *work, long l, float *row) {
    const long stride = padded(work->network->sizes[l]);
    for (long k = 0; k < work->knots; k++) {
        const float *a = work->activations[l] + k * stride;
        for (long j = 0; j < stride; j++) work->slopes[j] = 1.0f - a[j] * a[j];
        for (long i = 0; i < work->outputs; i++, row += stride)
            for (long j = 0; j < stride; j++) row[j] *= work->slopes[j];
    }
}

/* Fold the first layer: W times the derivative of the inputs by (q, v) at knot k. */
static void fold_first_layer(const Work *work, long k) {
    const long n = work->joints, hidden = work->network->sizes[1];
    const float *x = work->activations[0] + k * padded(3 * n);
    for (long first = 0; first < 2 * n; first += WIDTH) {
        const Floats *direct = (const Floats *)(work->network->direct + first * hidden);
        const Floats *crossed = (const Floats *)(work->network->crossed + first * hidden);
        Floats *folded = (Floats *)(work->folded + first * hidden), along = {0}, across = {0};
        for (long j = first; j < 2 * n && j < first + WIDTH; j++) {
            along[j - first] = j < n ? x[n + j] : (float)(1.0 / work->velocity_limit[j - n]);
            across[j - first] = j < n ? x[j] : 0.0f;
        }
        for (long u = 0; u < hidden; u++) folded[u] = along * direct[u] - across * crossed[u];
    }
}

/* Take the back-propagated rows through the first layer. A tile may write beyond the rows of a knot; those entries are
   not read. */
static void through_first_layer(const Work *work, const float *rows, float *by_state) {
    const long n = work->joints, m = work->outputs, hidden = work->network->sizes[1], stride = padded(2 * n);
    for (long k = 0; k < work->knots; k++) {
        fold_first_layer(work, k);
        product(m, hidden, 2 * n, rows + k * m * padded(hidden), padded(hidden), work->folded, by_state, stride);
        for (long i = 0; i < m; i++)
            for (long j = 0; j < 2 * n; j++) work->jacobian[(k * m + i) * 3 * n + j] = by_state[i * stride + j];
    }
}

/* Outputs for the inputs in activations[0]. */
void metarl_outputs(const Work *work) {
    hidden_layers(work);
    linear_layer(work, work->network->layers - 1);
}

/* Outputs at (q, v). */
void metarl_design(const Work *work) {
    inputs_of_joints(work);
    metarl_outputs(work);
}

/* Outputs for the inputs in activations[0], contracted with z. */
void metarl_contracted(const Work *work) {
    hidden_layers(work);
    contract(work);
}

/* Outputs at (q, v), contracted with z. */
void metarl_value(const Work *work) {
    inputs_of_joints(work);
    metarl_contracted(work);
}

/* Outputs at (q, v), contracted with z, and their derivatives. */
void metarl_value_and_jacobian(const Work *work) {
    const Network *net = work->network;
    const long last = net->layers - 1, one_knot = work->outputs * padded(net->sizes[last]);
    float *from = work->rows, *to = work->spare;
    metarl_value(work);
    for (long k = 0; k < work->knots; k++) memcpy(from + k * one_knot, work->head, one_knot * sizeof(float));
    for (long l = last; l > 1; l--) {
        const long in = net->sizes[l - 1];
        through_tanh(work, l, from);
        product(work->knots * work->outputs, net->sizes[l], in, from, padded(net->sizes[l]), net->backward[l - 1], to,
                padded(in));
        float *const swap = from;
        from = to;
        to = swap;
    }
    through_tanh(work, 1, from);
    through_first_layer(work, from, to);
}
