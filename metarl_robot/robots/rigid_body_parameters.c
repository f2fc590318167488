// SPDX-License-Identifier: Apache-2.0
/* Nearest inertial parameters of a body that can exist, as `_nearest` of rigid_body_parameters.py.
 *
 * POINT and LEAST_KG_M2 are defined there.
 */
#include "kernel.h"

#define SWEEPS 10

static double positive(double x, double width) { return 0.5 * (x + sqrt(x * x + width * width)); }

/* Turns columns i and j of a symmetric matrix and of its axes until s[i][j] = 0. */
static void turn(double s[3][3], double axes[3][3], int i, int j) {
    if (s[i][j] == 0.0) return;
    const double half = 0.5 * (s[j][j] - s[i][i]) / s[i][j];
    const double tangent = (half < 0.0 ? -1.0 : 1.0) / (fabs(half) + sqrt(half * half + 1.0));
    const double cosine = 1.0 / sqrt(tangent * tangent + 1.0), sine = tangent * cosine;
    const double change = tangent * s[i][j];
    const int k = 3 - i - j;
    const double ki = s[k][i], kj = s[k][j];
    s[i][i] -= change;
    s[j][j] += change;
    s[i][j] = s[j][i] = 0.0;
    s[k][i] = s[i][k] = cosine * ki - sine * kj;
    s[k][j] = s[j][k] = sine * ki + cosine * kj;
    for (int r = 0; r < 3; ++r) {
        const double x = axes[r][i], y = axes[r][j];
        axes[r][i] = cosine * x - sine * y;
        axes[r][j] = sine * x + cosine * y;
    }
}

/* Adds the positive part of a symmetric matrix, by Jacobi's eigenvalue method (Golub, Van Loan 2013, section 8.5). */
static void add_positive_part(double s[3][3], double second[3][3]) {
    double axes[3][3] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};
    for (int sweep = 0; sweep < SWEEPS && (s[0][1] != 0.0 || s[0][2] != 0.0 || s[1][2] != 0.0); ++sweep) {
        turn(s, axes, 0, 1);
        turn(s, axes, 0, 2);
        turn(s, axes, 1, 2);
    }
    for (int e = 0; e < 3; ++e) {
        const double value = positive(s[e][e], LEAST_KG_M2);
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 3; ++c) second[r][c] += value * axes[r][e] * axes[c][e];
    }
}

/* given, made: m, h, I_xx yy zz xy xz yz. */
void nearest(const double *given, double *made, double farthest_m, double least_kg) {
    const double *i = given + 4, mass = positive(given[0], least_kg);
    const double size = sqrt(given[1] * given[1] + given[2] * given[2] + given[3] * given[3]);
    const double share = fmin(1.0, farthest_m * mass / (size + 1e-300));
    const double h[3] = {share * given[1], share * given[2], share * given[3]};
    double second[3][3];
    for (int r = 0; r < 3; ++r)
        for (int c = 0; c < 3; ++c) second[r][c] = h[r] * h[c] / mass;
    if (mass > POINT * least_kg) {
        const double half = 0.5 * (i[0] + i[1] + i[2]);
        double about_centre[3][3] = {
            {half - i[0], -i[3], -i[4]},
            {-i[3], half - i[1], -i[5]},
            {-i[4], -i[5], half - i[2]},
        };
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 3; ++c) about_centre[r][c] -= second[r][c];
        add_positive_part(about_centre, second);
    }
    const double trace = second[0][0] + second[1][1] + second[2][2];
    made[0] = mass;
    for (int r = 0; r < 3; ++r) {
        made[1 + r] = h[r];
        made[4 + r] = trace - second[r][r];
    }
    made[7] = -second[0][1];
    made[8] = -second[0][2];
    made[9] = -second[1][2];
}
