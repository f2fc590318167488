/* Which command acted: the same as CommandHistory in stream.py, which says what each array is. */
#include <math.h>

#define LATE 3

typedef struct {
    long nu, latencies, commands; /* commands: remembered, and the one just issued */
    double period;
    const double *past, *held, *latency, *prior; /* (commands, nu) the latest first, (commands - 1,), (latencies,), (latencies,) */
    double *evidence, *weights;                  /* (latencies,) */
    double *candidates, *acting, *doubt;         /* (latencies, nu), (nu,), (nu,) */
    double *scratch;                             /* (latencies, LATE, nu) */
} History;

static double smaller(double x, double y) { return x < y ? x : y; }
static double larger(double x, double y) { return x > y ? x : y; }

/* Mean effort over the last dt if commands act `latency` after they are issued. */
static void effort_at(const History *h, double latency, double dt, double *effort) {
    double issued = 0.0, replaced = INFINITY;
    for (long j = 0; j < h->nu; ++j) effort[j] = 0.0;
    for (long c = 0; c < h->commands; ++c) {
        const double from = c == h->commands - 1 ? -INFINITY : issued;
        const double share = (smaller(dt - latency, replaced) - larger(-latency, from)) / dt;
        for (long j = 0; share > 0.0 && j < h->nu; ++j) effort[j] += share * h->past[c * h->nu + j];
        replaced = issued;
        issued -= h->held[c < h->commands - 1 ? c : 0];
    }
}

void acting(const History *h, double dt) {
    const double late = larger(0.0, dt - h->period);
    const long nu = h->nu;
    for (long j = 0; j < nu; ++j) h->acting[j] = h->doubt[j] = 0.0;
    for (long i = 0; i < h->latencies; ++i) {
        double *efforts = h->scratch + i * LATE * nu, *candidate = h->candidates + i * nu;
        for (long l = 0; l < LATE; ++l) effort_at(h, h->latency[i] + 0.5 * l * late, dt, efforts + l * nu);
        for (long j = 0; j < nu; ++j) {
            candidate[j] = (efforts[j] + efforts[nu + j] + efforts[2 * nu + j]) / LATE;
            h->acting[j] += h->weights[i] * candidate[j];
        }
    }
    for (long i = 0; i < h->latencies; ++i)
        for (long l = 0; l < LATE; ++l)
            for (long j = 0; j < nu; ++j) {
                const double off = h->scratch[(i * LATE + l) * nu + j] - h->acting[j];
                h->doubt[j] += h->weights[i] * off * off / LATE;
            }
    for (long j = 0; j < nu; ++j) h->doubt[j] = sqrt(h->doubt[j]);
}

void weigh(const History *h) {
    double *likely = h->scratch, most = -INFINITY, sum = 0.0;
    const long count = h->latencies;
    for (long i = 0; i < count; ++i) most = larger(most, h->evidence[i]);
    for (long i = 0; i < count; ++i) likely[i] = exp(h->evidence[i] - most);
    for (long i = 0; i < count; ++i) {
        h->weights[i] = 0.5 * likely[i] + 0.25 * ((i > 0 ? likely[i - 1] : 0.0) + (i < count - 1 ? likely[i + 1] : 0.0));
        sum += h->weights[i];
    }
    for (long i = 0; i < count; ++i) h->weights[i] /= sum;
}

/* white (size,), response (size, nu) */
void learn(const History *h, const double *white, const double *response, long size, double keep) {
    double *likelihood = h->scratch, most = -INFINITY;
    for (long i = 0; i < h->latencies; ++i) {
        likelihood[i] = 0.0;
        for (long s = 0; s < size; ++s) {
            double left = white[s];
            for (long j = 0; j < h->nu; ++j) left -= response[s * h->nu + j] * (h->candidates[i * h->nu + j] - h->acting[j]);
            likelihood[i] -= 0.5 * left * left;
        }
        most = larger(most, likelihood[i]);
    }
    for (long i = 0; i < h->latencies; ++i)
        h->evidence[i] = keep * h->evidence[i] + (1.0 - keep) * h->prior[i] + likelihood[i] - most;
    weigh(h);
}
