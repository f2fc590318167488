// SPDX-License-Identifier: Apache-2.0
/* Online statistics of the sample stream, as in stream/, which describes each array. */
#include "kernel.h"

#define LATE 3

typedef struct {
    long nu, latencies, commands; /* commands: those kept and the one just issued */
    double period;
    const double *latency, *prior;       /* (latencies,) */
    const double *earlier_std;           /* (nu,) of the command before the first */
    double *past, *held, *earlier;       /* (commands, nu) the latest first, (commands - 1,), (commands,) 1: not known */
    double *evidence, *weights;          /* (latencies,) */
    double *candidates, *acting, *effort_std; /* (latencies, nu), (nu,), (nu,) */
    double *scratch;                     /* (latencies, LATE, nu) */
} History;

typedef struct {
    long n, groups;
    double memory, least, most;
    const double *share_of, *v;             /* (groups, n), (n,) */
    double *last, *step, *variance, *known; /* (n,), (n,), (groups,), (1,) number of samples so far, at most two */
} Noise;

typedef struct {
    long n;
    double memory, slow, correlation, first, largest;
    const double *least, *moved, *v, *white;    /* (n,) */
    double *off, *mean, *last_v, *stamp;        /* (n,), (n,), (n,), (2,) variance of the stamps, its information */
    double *position, *velocity, *known;        /* (n,), (n,), (1,) number of samples so far */
} Sensors;

typedef struct {
    long n;
    double memory, first, largest, rounding, least_interval, most_interval;
    const double *least, *moved, *v;                  /* (n,) */
    double *last, *last_but_one, *count, *position;   /* (n,) */
    double *known, *interval, *agreeing;              /* (1,) */
} Differences;

typedef struct {
    long n;
    double unmeasured;
    const Noise *velocity;
    const Sensors *sensors;
    const Differences *differences;
    const long *group;                         /* (n,) */
    const double *v, *acceleration;            /* (n,) */
    double *variance, *common;                 /* (2n,) */
} Levels;

typedef struct {
    long n, nu;
    double memory, window, error_memory, first, largest, most;
    const double *least;                        /* (n,) */
    double *information, *sum, *white, *error;  /* (nu,), (nu,), (nu,), (n,) */
} Efforts;

typedef struct {
    long size, windows, width;
    double threshold;
    const double *window, *white; /* (windows,) the shortest first, (size,) */
    double *recent;               /* (width, size) the latest first */
} Whiteness;

static double smaller(double x, double y) { return x < y ? x : y; }
static double larger(double x, double y) { return x > y ? x : y; }

/* Mean effort over the last dt, if commands act `latency` after they are issued. Returns the share of dt in which the
 * command before the first acted. */
static double effort_at(const History *h, double latency, double dt, double *effort) {
    double issued = 0.0, replaced = INFINITY, earlier = 0.0;
    for (long j = 0; j < h->nu; ++j) effort[j] = 0.0;
    for (long c = 0; c < h->commands && replaced > -latency; ++c) {
        const double from = c == h->commands - 1 ? -INFINITY : issued;
        const double share = (smaller(dt - latency, replaced) - larger(-latency, from)) / dt;
        if (share > 0.0) {
            add(effort, share, h->past + c * h->nu, h->nu);
            earlier += share * h->earlier[c];
        }
        replaced = issued;
        issued -= h->held[c < h->commands - 1 ? c : 0];
    }
    return earlier;
}

void acting(const History *h, double dt) {
    const double late = larger(0.0, dt - h->period);
    const long nu = h->nu;
    double unknown = 0.0; /* mean square of the share of the command before the first */
    for (long j = 0; j < nu; ++j) h->acting[j] = h->effort_std[j] = 0.0;
    for (long i = 0; i < h->latencies; ++i) {
        double *efforts = h->scratch + i * LATE * nu, *candidate = h->candidates + i * nu;
        double earlier = effort_at(h, h->latency[i], dt, efforts), square = earlier * earlier;
        for (long l = 1; l < LATE; ++l) {
            if (late > 0.0) earlier = effort_at(h, h->latency[i] + 0.5 * l * late, dt, efforts + l * nu);
            else memcpy(efforts + l * nu, efforts, nu * sizeof(double));
            square += earlier * earlier;
        }
        unknown += h->weights[i] * square / LATE;
        for (long j = 0; j < nu; ++j) {
            candidate[j] = (efforts[j] + efforts[nu + j] + efforts[2 * nu + j]) / LATE;
            h->acting[j] += h->weights[i] * candidate[j];
        }
    }
    for (long i = 0; i < h->latencies; ++i)
        for (long l = 0; l < LATE; ++l)
            for (long j = 0; j < nu; ++j) {
                const double off = h->scratch[(i * LATE + l) * nu + j] - h->acting[j];
                h->effort_std[j] += h->weights[i] * off * off / LATE;
            }
    for (long j = 0; j < nu; ++j)
        h->effort_std[j] = sqrt(h->effort_std[j] + unknown * h->earlier_std[j] * h->earlier_std[j]);
}

void weigh(const History *h) {
    double *likely = h->scratch, most = -INFINITY, sum = 0.0;
    const long count = h->latencies;
    for (long i = 0; i < count; ++i) most = larger(most, h->evidence[i]);
    for (long i = 0; i < count; ++i) likely[i] = exp(h->evidence[i] - most);
    for (long i = 0; i < count; ++i) {
        const double before = i > 0 ? likely[i - 1] : 0.0, after = i < count - 1 ? likely[i + 1] : 0.0;
        h->weights[i] = 0.5 * likely[i] + 0.25 * (before + after);
        sum += h->weights[i];
    }
    for (long i = 0; i < count; ++i) h->weights[i] /= sum;
}

/* The command just issued was held for dt. */
void issued(const History *h, double dt) {
    memmove(h->past + h->nu, h->past, (h->commands - 1) * h->nu * sizeof(double));
    memmove(h->held + 1, h->held, (h->commands - 2) * sizeof(double));
    memmove(h->earlier + 1, h->earlier, (h->commands - 1) * sizeof(double));
    h->held[0] = dt;
}

/* white (size,), response (size, nu) */
void learn(const History *h, const double *white, const double *response, long size, double keep) {
    double *likelihood = h->scratch, most = -INFINITY, off[h->nu];
    for (long i = 0; i < h->latencies; ++i) {
        likelihood[i] = 0.0;
        for (long j = 0; j < h->nu; ++j) off[j] = h->candidates[i * h->nu + j] - h->acting[j];
        for (long s = 0; s < size; ++s) {
            double left = white[s];
            for (long j = 0; j < h->nu; ++j) left -= response[s * h->nu + j] * off[j];
            likelihood[i] -= 0.5 * left * left;
        }
        most = larger(most, likelihood[i]);
    }
    for (long i = 0; i < h->latencies; ++i)
        h->evidence[i] = keep * h->evidence[i] + (1.0 - keep) * h->prior[i] + likelihood[i] - most;
    weigh(h);
}

/* level, trend, sample: (n,) */
void smooth(double *level, double *trend, const double *sample, long n, double dt, double memory) {
    const double theta = exp(-dt / memory);
    for (long i = 0; i < n; ++i) {
        const double ahead = level[i] + dt * trend[i], off = sample[i] - ahead;
        level[i] = ahead + (1.0 - theta * theta) * off;
        trend[i] += (1.0 - theta) * (1.0 - theta) / dt * off;
    }
}

void noise(const Noise *s, double dt) {
    double bend[s->n];
    const double share = 1.0 - exp(-dt / s->memory);
    for (long i = 0; i < s->n; ++i) {
        const double step = s->v[i] - s->last[i];
        bend[i] = step - s->step[i];
        s->last[i] = s->v[i];
        s->step[i] = step;
    }
    for (long g = 0; g < s->groups && s->known[0] == 2.0; ++g) {
        double sample = 0.0, now = s->variance[g];
        for (long i = 0; i < s->n; ++i) sample += s->share_of[g * s->n + i] * bend[i] * bend[i];
        now += share * (smaller(sample / 6.0, 4.0 * now) - now);
        s->variance[g] = clamped(now, s->least, s->most);
    }
    s->known[0] = smaller(s->known[0] + 1.0, 2.0);
}

/* The part of `bend` that is due to the stamps, per velocity; their variance is updated. */
static double of_stamp(const Sensors *s, const double *bend, double keep) {
    double fit = 0.0, size = 1e-300, jitter = s->stamp[0];
    for (long i = 0; i < s->n; ++i) {
        fit += bend[i] * s->v[i] / s->position[i];
        size += s->v[i] * s->v[i] / s->position[i];
    }
    const double information = keep * s->stamp[1] + size * size, by_stamp = jitter * size * size;
    const double excess = smaller(fit * fit / 6.0, s->largest * (by_stamp + size)) - size - by_stamp;
    jitter = larger(jitter + excess / (information + s->first * size * size), 0.0);
    s->stamp[0] = jitter;
    s->stamp[1] = information;
    return jitter * fit / (jitter * size + 1.0);
}

void sensors(const Sensors *s, double dt) {
    const double known = s->known[0];
    double bend[s->n];
    s->known[0] += 1.0;
    for (long i = 0; i < s->n; ++i) {
        const double off = s->moved[i] - 0.5 * dt * (s->v[i] + s->last_v[i]);
        bend[i] = off - s->off[i];
        s->off[i] = off;
        s->last_v[i] = s->v[i];
    }
    if (known < 2.0) return;
    const double keep = exp(-dt / s->memory), share = larger(1.0 - keep, 1.0 / (known + s->first));
    const double common = of_stamp(s, bend, keep), fade = exp(-dt / s->slow);
    for (long i = 0; i < s->n; ++i) {
        const double b = bend[i] - s->v[i] * common, now = s->position[i], white = s->white[i];
        const double sample = b * b / 6.0 - white * dt * dt / 12.0;
        s->position[i] = larger(now + share * (smaller(sample, s->largest * now) - now), s->least[i]);
        s->mean[i] = fade * s->mean[i] + (1.0 - fade) * s->off[i] / dt;
        const double of_position = s->position[i] + s->stamp[0] * s->v[i] * s->v[i];
        const double known_part = (2.0 * (1.0 - fade) * (1.0 - fade) * of_position / (dt * dt) + (1.0 - fade) * white) / (1.0 + fade);
        const double slow = s->correlation / dt * (s->mean[i] * s->mean[i] - known_part), before = s->velocity[i];
        s->velocity[i] = larger(before + share * (smaller(slow, s->largest * (before + white)) - before), 0.0);
    }
}

static int equal(const Differences *s, double interval, double rounding) {
    for (long i = 0; i < s->n; ++i)
        if (!(fabs(s->moved[i] - interval * s->v[i]) <= rounding)) return 0;
    return 1;
}

static int agree(const Differences *s, double dt) {
    double most = 0.0, along = 0.0, square = 0.0;
    long moving = 0;
    for (long i = 0; i < s->n; ++i) {
        most = larger(most, fabs(s->moved[i]));
        along += s->moved[i] * s->v[i];
        square += s->v[i] * s->v[i];
        moving += s->moved[i] != 0.0;
    }
    const double rounding = s->rounding * most, interval = along / (square + 1e-300);
    if (moving < 2) return equal(s, dt, rounding) || equal(s, s->interval[0], rounding);
    if (!(s->least_interval * dt < interval && interval < s->most_interval * dt)) return 0;
    s->interval[0] = interval;
    return equal(s, interval, rounding);
}

/* Takes a third difference into the variance of the positions that have changed. */
static void learn_positions(const Differences *s, double share) {
    for (long i = 0; i < s->n; ++i) {
        const double third = s->moved[i] - 2.0 * s->last[i] + s->last_but_one[i], now = s->position[i];
        if (s->moved[i] == 0.0 && s->last[i] == 0.0 && s->last_but_one[i] == 0.0) continue;
        s->count[i] += 1.0;
        double size = third * third / 20.0;
        if (s->count[i] > s->first) size = smaller(size, s->largest * now);
        s->position[i] += larger(share, 1.0 / s->count[i]) * (size - now);
    }
}

/* Returns 1 if the velocities are differences of the positions. */
int differences(const Differences *s, double dt) {
    int moves = 0, turns = 0, coarse = 0;
    for (long i = 0; i < s->n; ++i) {
        moves |= s->moved[i] != 0.0;
        turns |= s->v[i] != 0.0;
    }
    if (moves) s->agreeing[0] = agree(s, dt);
    else if (turns) s->agreeing[0] = 0.0;
    if (s->agreeing[0] && s->known[0] == 2.0) learn_positions(s, 1.0 - exp(-dt / s->memory));
    s->known[0] = smaller(s->known[0] + 1.0, 2.0);
    for (long i = 0; i < s->n; ++i) {
        s->last_but_one[i] = s->last[i];
        s->last[i] = s->moved[i];
        coarse |= s->position[i] > s->least[i];
    }
    return s->agreeing[0] && coarse;
}

/* Noise levels at a sample.
 * Returns 1 if the velocities are differences of the positions. */
int levels(const Levels *s, double dt) {
    double *of_q = s->variance, *of_v = s->variance + s->n;
    noise(s->velocity, dt);
    for (long i = 0; i < s->n; ++i) of_v[i] = s->velocity->variance[s->group[i]];
    sensors(s->sensors, dt); /* it reads of_v */
    const int found = differences(s->differences, dt);
    const double jitter = sqrt(s->sensors->stamp[0]);
    for (long i = 0; i < s->n; ++i) {
        of_q[i] = found ? s->differences->position[i] : s->sensors->position[i];
        of_v[i] = found ? s->unmeasured : of_v[i] + s->sensors->velocity[i];
        s->common[i] = jitter * s->v[i];
        s->common[s->n + i] = jitter * s->acceleration[i];
    }
    return found;
}

/* white (size,), response (size, nu) */
void efforts(const Efforts *s, const double *white, const double *response, long size, double dt) {
    const double keep = exp(-dt / s->memory), fade = exp(-dt / s->window), share = 1.0 - exp(-dt / s->error_memory);
    for (long j = 0; j < s->nu; ++j) {
        double fit = 0.0, square = 1e-300;
        for (long i = 0; i < size; ++i) {
            fit += white[i] * response[i * s->nu + j];
            square += response[i * s->nu + j] * response[i * s->nu + j];
        }
        s->information[j] = keep * s->information[j] + square * square;
        const double excess = smaller(fit * fit, s->largest * square) - square;
        s->white[j] = larger(s->white[j] + excess / (s->information[j] + s->first * square * square), 0.0);
        s->sum[j] = fade * s->sum[j] + fit / sqrt(square);
        if (s->n != s->nu) continue;
        const double too_large = clamped(s->sum[j] * s->sum[j] * (1.0 - fade * fade) - 1.0, -1.0, 3.0);
        s->error[j] = clamped(s->error[j] * exp(share * too_large), s->least[j], s->most * s->least[j]);
    }
}

/* Adds innovation number `count`; returns 1 if the mean over one of the windows is improbable. */
int fails(const Whiteness *s, long count) {
    double sum[s->size];
    memset(sum, 0, sizeof sum);
    memmove(s->recent + s->size, s->recent, (s->width - 1) * s->size * sizeof(double));
    memcpy(s->recent, s->white, sizeof sum);
    for (long w = 0, row = 0; w < s->windows && s->window[w] <= count; ++w) {
        double square = 0.0;
        for (; row < s->window[w]; ++row)
            for (long i = 0; i < s->size; ++i) sum[i] += s->recent[row * s->size + i];
        for (long i = 0; i < s->size; ++i) square += sum[i] * sum[i];
        if (square > s->threshold * s->window[w]) return 1;
    }
    return 0;
}
