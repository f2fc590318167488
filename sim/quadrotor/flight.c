/* Quadrotors through physics steps, and what their sensors say. flight.py says what each quantity is, and has the same in numpy.
 *
 * Arrays are row-major, a row a quadrotor. Rings remember `keep` steps: what belongs to step s is in slot s mod keep.
 */
#include <math.h>
#include <string.h>

#include <mujoco/mujoco.h>

#if mjVERSION_HEADER != MUJOCO
#error "MuJoCo's headers are of another version than its library"
#endif

#define ROTORS 4
#define STATE 16 /* pose, velocity, specific force */

typedef void (*Step)(const mjModel *, mjData *);

typedef struct {
    long worlds, keep, period, gust_samples;
    Step begin, end;                                                         /* mj_step2, mj_step1 */
    double dt, age, gravity, upright, tolerance, gust_dt;
    double coefficient, radius, lowest, faster, slower;                      /* of the rotors; heights below `lowest` count as that */
    const double *hubs, *drag_torque, *velocity_limit;                       /* (4, 3), (4,), (6,) */
    const double *gain, *rotor_drag, *parasitic_drag, *ground;               /* (T, 4), (T, 3), (T, 3), (T,) */
    const double *wall_normal, *wall_offset, *wall_edge;                     /* (T, 3), (T,), (T,) */
    const double *wind, *swing, *swing_rate, *gusts;                         /* (T, 3), (T, 3), (T,), (gust_samples, T, 3) */
    const double *noise_std;                                                 /* (T, 15) */
    const long *command_steps, *sensor_steps;                                /* (T,) */
    double *speeds, *mean_thrust;                                            /* (T, 4), (T, 4) */
    double *targets, *q, *v, *force;                                         /* rings: (T, keep, ·) */
    long *crashed, *counts;                                                  /* (T,), (T, 4) */
    long count, now;                                                         /* of one call: steps to take, steps taken before */
    const double *issued, *noise;                                            /* (T, 4) rotor speeds; (T, 15) standard normal */
    const long *overdriven;                                                  /* (T,) */
    double *applied, *truth, *measured;                                      /* (T, count, 6), (T, 16), (T, 16) */
} Flight;

static inline double dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void cross(const double *a, const double *b, double *out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

/* p ⊗ q, normalised; the identity where that is not possible. */
static void turned(const double *p, const double *q, double *out) {
    const double w = p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3];
    const double x = p[0] * q[1] + p[1] * q[0] + p[2] * q[3] - p[3] * q[2];
    const double y = p[0] * q[2] - p[1] * q[3] + p[2] * q[0] + p[3] * q[1];
    const double z = p[0] * q[3] + p[1] * q[2] - p[2] * q[1] + p[3] * q[0];
    const double norm = sqrt(w * w + x * x + y * y + z * z);
    const int usable = isfinite(norm) && norm > 1e-12;
    out[0] = usable ? w / norm : 1.0;
    out[1] = usable ? x / norm : 0.0;
    out[2] = usable ? y / norm : 0.0;
    out[3] = usable ? z / norm : 0.0;
}

/* The quaternion of a rotation vector. */
static void exponential(const double *phi, double *out) {
    const double half = 0.5 * sqrt(dot(phi, phi)), share = half > 0.0 ? 0.5 * sin(half) / half : 0.5;
    out[0] = cos(half);
    for (int i = 0; i < 3; ++i) out[1 + i] = phi[i] * share;
}

/* Let the rotors turn for a step; their mean squared speeds. */
static void turn(const Flight *f, long world, long step, double *square) {
    double *ring = f->targets + world * f->keep * ROTORS, *speeds = f->speeds + world * ROTORS;
    memcpy(ring + step % f->keep * ROTORS, f->issued + world * ROTORS, ROTORS * sizeof(double));
    const double *target = ring + (step + f->keep - f->command_steps[world]) % f->keep * ROTORS;
    for (int i = 0; i < ROTORS; ++i) {
        const double before = speeds[i], gap = target[i] - before;
        speeds[i] = before + gap * (gap > 0.0 ? f->faster : f->slower);
        square[i] = 0.5 * (before * before + speeds[i] * speeds[i]);
    }
}

/* The velocity of the air at a place. */
static void wind_at(const Flight *f, long world, long step, const double *position, double *wind) {
    const double time = f->dt * step, swing = sin(f->swing_rate[world] * time);
    const double depth = dot(position, f->wall_normal + 3 * world) - f->wall_offset[world];
    const double share = fmin(fmax(depth / f->wall_edge[world], 0.0), 1.0), exposed = share * share * (3.0 - 2.0 * share);
    for (int i = 0; i < 3; ++i) wind[i] = f->wind[3 * world + i] + f->swing[3 * world + i] * swing;
    if (f->gust_samples) {
        const double place = time / f->gust_dt, whole = floor(place), passed = place - whole;
        const long first = (long)whole % f->gust_samples, second = (first + 1) % f->gust_samples;
        const double *a = f->gusts + 3 * (first * f->worlds + world), *b = f->gusts + 3 * (second * f->worlds + world);
        for (int i = 0; i < 3; ++i) wind[i] += (1.0 - passed) * a[i] + passed * b[i];
    }
    for (int i = 0; i < 3; ++i) wind[i] *= exposed;
}

/* Force [N; world] and torque [Nm; body] of rotors and air: aerodynamics.py. `r`: body -> world. */
static void aerodynamics(const Flight *f, long world, const double *r, double height, const double *velocity, const double *wind,
                         const double *square, double *wrench) {
    const double relative[3] = {velocity[0] - wind[0], velocity[1] - wind[1], velocity[2] - wind[2]}, *omega = velocity + 3;
    double air[3], force[3], torque[3] = {0.0};
    for (int i = 0; i < 3; ++i) air[i] = r[i] * relative[0] + r[3 + i] * relative[1] + r[6 + i] * relative[2];
    const double speed = sqrt(dot(air, air));
    for (int i = 0; i < 3; ++i) force[i] = f->parasitic_drag[3 * world + i] * speed * air[i];
    for (int n = 0; n < ROTORS; ++n) {
        const double *hub = f->hubs + 3 * n, thrust = f->gain[ROTORS * world + n] * square[n], turning = sqrt(square[n]);
        const double ratio = f->radius / (4.0 * fmax(height + dot(r + 6, hub), f->lowest));
        double pull[3], moment[3], turned[3];
        cross(omega, hub, turned);
        for (int i = 0; i < 3; ++i) pull[i] = f->rotor_drag[3 * world + i] * turning * (air[i] + turned[i]);
        pull[2] += thrust / (1.0 - f->ground[world] * ratio * ratio);
        cross(hub, pull, moment);
        for (int i = 0; i < 3; ++i) force[i] += pull[i], torque[i] += moment[i];
        torque[2] -= f->drag_torque[n] * thrust;
    }
    for (int i = 0; i < 3; ++i) wrench[i] = dot(r + 3 * i, force), wrench[3 + i] = torque[i];
}

/* What is remembered of a step: of the state after it, and of what was felt in it. */
static void remember(const Flight *f, long world, long step, const mjData *d, const double *velocity, const double *r) {
    const long slot = world * f->keep + step % f->keep;
    double acceleration[3];
    for (int i = 0; i < 3; ++i) acceleration[i] = (d->qvel[i] - velocity[i]) / f->dt + (i == 2 ? f->gravity : 0.0);
    memcpy(f->q + 7 * slot, d->qpos, 7 * sizeof(double));
    memcpy(f->v + 6 * slot, d->qvel, 6 * sizeof(double));
    for (int i = 0; i < 3; ++i)
        f->force[3 * slot + i] = r[i] * acceleration[0] + r[3 + i] * acceleration[1] + r[6 + i] * acceleration[2];
    f->crashed[world] |= d->ncon > 0 || d->xmat[9 + 8] < f->upright;
    int beyond[2] = {0};
    for (int i = 0; i < 6; ++i) beyond[i / 3] |= fabs(d->qvel[i]) > f->velocity_limit[i] + f->tolerance;
    long *counts = f->counts + 4 * world;
    counts[0] += f->overdriven[world];
    counts[1] += beyond[0];
    counts[2] += beyond[1];
    counts[3] += f->overdriven[world] || beyond[0] || beyond[1];
}

/* The state at a past step: positions as old as velocities, specific force the mean of a control period. */
static void recall(const Flight *f, long world, long step, double *state) {
    const long row = world * f->keep, slot = row + step % f->keep;
    const double *q = f->q + 7 * slot, *v = f->v + 6 * slot;
    const double back[3] = {-f->age * v[3], -f->age * v[4], -f->age * v[5]};
    double rotation[4];
    exponential(back, rotation);
    for (int i = 0; i < 3; ++i) state[i] = q[i] - f->age * v[i];
    turned(q + 3, rotation, state + 3);
    memcpy(state + 7, v, 6 * sizeof(double));
    for (int i = 0; i < 3; ++i) {
        double sum = 0.0;
        for (long k = 0; k < f->period; ++k) sum += f->force[3 * (row + (step - k + f->keep) % f->keep) + i];
        state[13 + i] = sum / f->period;
    }
}

static void sense(const Flight *f, long world, long step) {
    double *truth = f->truth + STATE * world, *measured = f->measured + STATE * world, noise[15], rotation[4];
    for (int i = 0; i < 15; ++i) noise[i] = f->noise_std[15 * world + i] * f->noise[15 * world + i];
    recall(f, world, step, truth);
    recall(f, world, step + f->keep - f->sensor_steps[world], measured);
    for (int i = 0; i < 3; ++i) measured[i] += noise[i];
    exponential(noise + 3, rotation);
    turned(measured + 3, rotation, measured + 3);
    for (int i = 0; i < 9; ++i) measured[7 + i] += noise[6 + i];
}

/* mjfBatchFunc. The data come with all that follows from positions and velocities, and leave so. */
void fly(const mjModel *m, mjData *d, int world, void *argument) {
    const Flight *f = argument;
    double thrust[ROTORS] = {0.0};
    for (long k = 0; k < f->count; ++k) {
        double r[9], velocity[6], square[ROTORS], wind[3], *applied = f->applied + 6 * (world * f->count + k);
        memcpy(r, d->xmat + 9, sizeof r);
        memcpy(velocity, d->qvel, sizeof velocity);
        turn(f, world, f->now + k, square);
        wind_at(f, world, f->now + k, d->qpos, wind);
        aerodynamics(f, world, r, d->qpos[2], velocity, wind, square, applied);
        memcpy(d->qfrc_applied, applied, 6 * sizeof(double));
        f->begin(m, d);
        f->end(m, d);
        remember(f, world, f->now + k + 1, d, velocity, r);
        for (int n = 0; n < ROTORS; ++n) thrust[n] += square[n];
    }
    for (int n = 0; n < ROTORS && f->count; ++n) f->mean_thrust[ROTORS * world + n] = f->coefficient * thrust[n] / f->count;
    sense(f, world, f->now + f->count);
}
