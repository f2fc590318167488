// SPDX-License-Identifier: Apache-2.0
/* TrackingQP.constrain over LinearisedLimits, in terms of the motion m = (q, v, a) of every joint at every knot, by the
   inputs: m = B δ. A row's coefficients are B' s with its slopes s, so that the dual matrix and the effect of the
   multipliers need only G = B H^-1 B', computed once. kernel.py defines HORIZON, JOINTS, MOST_ROWS, MAX_ROUNDS,
   SLACK_WEIGHT, YIELDING_WEIGHT, SLACK_TOLERANCE, TOLERANCE before this text. */

#include "kernel.h"

enum { KNOTS = HORIZON + 1, SIZE = 3 * KNOTS, OUTPUTS = KNOTS * JOINTS };
enum { FAILED, RELAXED, MET };
static const double GRADIENT = 1e-10; /* tolerance of the dual's gradient, relative to the largest bound */

typedef struct row {
    double slopes[3][JOINTS]; /* by q, v, a at the knot */
    double bound;
    int knot, yields;
} row;

typedef struct programme {
    row rows[MOST_ROWS];
    double dual[MOST_ROWS][MOST_ROWS]; /* without the softness on the diagonal */
    double softness[MOST_ROWS], multipliers[MOST_ROWS];
    int count;
    signed char known[2 * 3 * OUTPUTS];
} programme;

/* C_r H^-1 C_s' */
static double product(const double *gram, const row *r, const row *s) {
    double sum = 0.0;
    for (int x = 0; x < 3; ++x)
        for (int y = 0; y < 3; ++y) {
            double slopes = 0.0;
            for (int j = 0; j < JOINTS; ++j) slopes += r->slopes[x][j] * s->slopes[y][j];
            sum += gram[(x * KNOTS + r->knot) * SIZE + y * KNOTS + s->knot] * slopes;
        }
    return sum;
}

/* Lower Cholesky factor of the dual's rows and columns in `active`, and z = (L L')^-1 (-bounds); 0 if it fails. */
static int solved(const programme *p, const int *active, int count, double *z) {
    static _Thread_local double l[MOST_ROWS][MOST_ROWS];
    for (int i = 0; i < count; ++i) {
        double left = -p->rows[active[i]].bound;
        for (int j = 0; j <= i; ++j) {
            double sum = p->dual[active[i]][active[j]] + (i == j ? p->softness[active[i]] : 0.0);
            for (int k = 0; k < j; ++k) sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 0.0)) return 0;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
        for (int k = 0; k < i; ++k) left -= l[i][k] * z[k];
        z[i] = left / l[i][i];
    }
    for (int i = count - 1; i >= 0; --i) {
        for (int k = i + 1; k < count; ++k) z[i] -= l[k][i] * z[k];
        z[i] /= l[i][i];
    }
    return 1;
}

/* The row outside `active` whose multiplier reduces the dual's cost fastest, or -1. */
static int steepest(const programme *p, const int *active, int count, double least) {
    int best = -1;
    for (int i = 0; i < p->count; ++i) {
        double slope = -p->rows[i].bound - p->softness[i] * p->multipliers[i];
        int inside = 0;
        for (int k = 0; k < count; ++k) {
            inside |= active[k] == i;
            slope -= p->dual[i][active[k]] * p->multipliers[active[k]];
        }
        if (!inside && slope > least) {
            best = i;
            least = slope;
        }
    }
    return best;
}

/* Moves the active multipliers towards z until one is zero, and drops it; returns how many remain. */
static int moved(programme *p, int *active, int count, const double *z) {
    double share = 1.0;
    int first = -1, left = 0;
    for (int k = 0; k < count; ++k) {
        double now = p->multipliers[active[k]];
        if (z[k] <= 0.0 && now / (now - z[k]) < share) {
            share = now / (now - z[k]);
            first = k;
        }
    }
    for (int k = 0; k < count; ++k) {
        double *multiplier = &p->multipliers[active[k]];
        *multiplier += share * (z[k] - *multiplier);
        if (k == first || (first >= 0 && *multiplier <= 0.0))
            *multiplier = 0.0;
        else
            active[left++] = active[k];
    }
    return left;
}

/* Non-negative least squares (Lawson, Hanson 1974) on the dual; 0 if it fails. */
static int minimised(programme *p) {
    int active[MOST_ROWS], count = 0;
    double z[MOST_ROWS], largest = 0.0;
    for (int i = 0; i < p->count; ++i) largest = fmax(largest, fabs(p->rows[i].bound));
    memset(p->multipliers, 0, sizeof p->multipliers);
    for (int round = 0; round < 30 * p->count; ++round) {
        int next = steepest(p, active, count, GRADIENT * largest);
        if (next < 0) return 1;
        active[count++] = next;
        for (int left = 0; left != count;) {
            left = count;
            if (!solved(p, active, count, z)) return 0;
            count = moved(p, active, count, z);
        }
    }
    return 0;
}

/* Solves the dual; returns the largest slack, or -1 if that fails. */
static double slack(programme *p, double yielding_weight) {
    double largest = 0.0;
    for (int i = 0; i < p->count; ++i) p->softness[i] = 1.0 / (p->rows[i].yields ? yielding_weight : SLACK_WEIGHT);
    if (!minimised(p)) return -1.0;
    for (int i = 0; i < p->count; ++i) largest = fmax(largest, p->softness[i] * p->multipliers[i]);
    return largest;
}

/* motion[3][KNOTS][JOINTS] = -B H^-1 C' multipliers */
static void effect(const double *gram, const programme *p, double *motion) {
    memset(motion, 0, 3 * OUTPUTS * sizeof *motion);
    for (int i = 0; i < p->count; ++i) {
        const row *r = &p->rows[i];
        if (p->multipliers[i] == 0.0) continue;
        for (int y = 0; y < 3; ++y)
            for (int at = 0; at < SIZE; ++at)
                add(motion + at * JOINTS, -p->multipliers[i] * gram[at * SIZE + y * KNOTS + r->knot], r->slopes[y],
                    JOINTS);
    }
}

/* Change of an output by the motion; NULL: none. */
static double change(const double *by_motion, const double *motion, int kind, int place) {
    double sum = 0.0;
    if (motion == NULL) return 0.0;
    if (kind > 0) return motion[(2 - kind) * OUTPUTS + place];
    for (int x = 0; x < 3; ++x)
        for (int j = 0; j < JOINTS; ++j)
            sum += by_motion[(place * 3 + x) * JOINTS + j] * motion[x * OUTPUTS + place / JOINTS * JOINTS + j];
    return sum;
}

static row limit(const double *by_motion, int kind, int place, double sign, double room) {
    row r = {.bound = fabs(sign) * room, .knot = place / JOINTS, .yields = kind == 0};
    if (kind > 0) r.slopes[2 - kind][place % JOINTS] = sign;
    for (int i = 0; kind == 0 && i < 3 * JOINTS; ++i)
        r.slopes[i / JOINTS][i % JOINTS] = sign * by_motion[place * 3 * JOINTS + i];
    return r;
}

/* Adds the rows that the motion violates; returns how many, or -1 if there are too many or one is not finite. */
static int added(const double *gram, const double *by_motion, const double *const *outputs, const double *motion,
                 programme *p) {
    const double *values = outputs[0], *worth = outputs[3];
    int before = p->count;
    for (int i = 0; i < 2 * 3 * OUTPUTS; ++i) {
        int output = i % (3 * OUTPUTS), kind = output / OUTPUTS, place = output % OUTPUTS, lower = i >= 3 * OUTPUTS;
        if (p->known[i] || (kind > 0 && place < JOINTS)) continue; /* the present motion cannot be changed */
        double sign = lower ? -1.0 : 1.0, room = sign * (outputs[lower ? 1 : 2][output] - values[output]);
        if (!(sign * change(by_motion, motion, kind, place) - room > TOLERANCE * worth[output])) continue;
        if (p->count == MOST_ROWS) return -1;
        p->known[i] = 1;
        p->rows[p->count] = limit(by_motion, kind, place, sign / worth[output], room);
        for (int s = 0; s <= p->count; ++s)
            p->dual[s][p->count] = p->dual[p->count][s] = product(gram, &p->rows[p->count], &p->rows[s]);
        if (!isfinite(p->dual[p->count][p->count])) return -1;
        ++p->count;
    }
    return p->count - before;
}

/* Finds the change of the motion; outputs: values, lower, upper, worth, each [3][KNOTS][JOINTS]. */
int constrain(const double *gram, const double *by_motion, const double *values, const double *lower,
              const double *upper, const double *worth, double *motion) {
    static _Thread_local programme p;
    const double *outputs[] = {values, lower, upper, worth};
    double weight = SLACK_WEIGHT;
    p.count = 0;
    memset(p.known, 0, sizeof p.known);
    memset(motion, 0, 3 * OUTPUTS * sizeof *motion);
    for (int round = 0; round <= MAX_ROUNDS; ++round) {
        int found = added(gram, by_motion, outputs, round > 0 ? motion : NULL, &p);
        if (found < 0) return FAILED;
        if (found == 0) return weight == SLACK_WEIGHT ? MET : RELAXED;
        if (round == MAX_ROUNDS) break;
        double most = slack(&p, weight);
        if (most > SLACK_TOLERANCE && weight == SLACK_WEIGHT) most = slack(&p, weight = YIELDING_WEIGHT);
        if (most < 0.0) return FAILED;
        effect(gram, &p, motion);
    }
    return RELAXED;
}
