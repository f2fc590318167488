// SPDX-License-Identifier: Apache-2.0
/* Normal equations of normal_equations.py, which describes the arrays and holds the numpy version. */
#include "kernel.h"

typedef struct {
    long joints, priors, size;                    /* n, C, m */
    const double *information, *pull;             /* (C, m, m), (C, m) */
    const double *rows, *force, *weight;          /* of one cell: (n, m), (n,), (n,) */
    const double *precision;                      /* (C, n) of the joints */
    double *gram, *moment;                        /* (n, m, m), (n, m) */
    double *means, *log_det, *fitted;             /* (C, m), (C,), (C, n) */
    double *scratch;                              /* (m, m) */
} Equations;

void add_cell(const Equations *e, double keep) {
    const long m = e->size;
    for (long j = 0; j < e->joints; ++j) {
        const double *row = e->rows + j * m;
        double *moment = e->moment + j * m, *gram = e->gram + j * m * m;
        for (long i = 0; i < m; ++i) {
            const double weighted = e->weight[j] * row[i];
            moment[i] = keep * moment[i] + weighted * e->force[j];
            for (long l = 0; l < m; ++l) gram[i * m + l] = keep * gram[i * m + l] + weighted * row[l];
        }
    }
}

/* The upper half of P (m, m) becomes Lᵀ with P = L Lᵀ, and x = P⁻¹ x. Returns 0 if P is not positive definite. */
static int solved(double *p, double *x, long m, double *log_det) {
    double product = 0.0;
    for (long i = 0; i < m; ++i) {
        double *row = p + i * m;
        for (long l = 0; l < i; ++l) add(row + i, -p[l * m + i], p + l * m + i, m - i);
        if (!(row[i] > 0.0)) return 0;
        product += log(row[i]);
        const double scale = 1.0 / sqrt(row[i]);
        for (long j = i; j < m; ++j) row[j] *= scale;
        x[i] *= 1.0 / row[i];
        add(x + i + 1, -x[i], row + i + 1, m - i - 1);
    }
    for (long i = m - 1; i >= 0; --i) {
        double left = x[i];
        for (long j = i + 1; j < m; ++j) left -= p[i * m + j] * x[j];
        x[i] = left / p[i * m + i];
    }
    *log_det = product;
    return 1;
}

/* Returns 0 if a matrix is not positive definite. */
int solve(const Equations *e) {
    const long m = e->size, n = e->joints;
    double *p = e->scratch, by_row[m];
    for (long c = 0; c < e->priors; ++c) {
        double *x = e->means + c * m;
        memcpy(p, e->information + c * m * m, m * m * sizeof(double));
        memcpy(x, e->pull + c * m, m * sizeof(double));
        for (long j = 0; j < n; ++j) {
            add(p, e->precision[c * n + j], e->gram + j * m * m, m * m);
            add(x, e->precision[c * n + j], e->moment + j * m, m);
        }
        if (!solved(p, x, m, e->log_det + c)) return 0;
        for (long j = 0; j < n; ++j) {
            double square = 0.0;
            memset(by_row, 0, sizeof by_row);
            for (long i = 0; i < m; ++i) add(by_row, x[i], e->gram + (j * m + i) * m, m);
            for (long i = 0; i < m; ++i) square += by_row[i] * x[i];
            e->fitted[c * n + j] = square;
        }
    }
    return 1;
}
