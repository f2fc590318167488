// SPDX-License-Identifier: Apache-2.0
/* Physics steps of quadrotors, and their sensors. flight.py describes each quantity, and has the same in numpy.
 *
 * Arrays are row-major, one row per quadrotor. Rings hold the last `keep` steps; step s is in slot s mod keep.
 */
#include "kernel.h"

#include <mujoco/mujoco.h>

#if mjVERSION_HEADER != MUJOCO
#error "MuJoCo's headers are of another version than its library"
#endif

/* Defined by flight.py: ROTORS, their number, and TILTED, whether any axis is not body z. */
#define STATE 16 /* pose, velocity, specific force */

typedef void (*Step)(const mjModel *, mjData *);

typedef struct {
    long worlds, keep, period, gust_samples;
    Step begin, end;                                                  /* mj_step2, mj_step1 */
    double dt, age, gravity, tolerance, gust_dt;
    double coefficient, radius, lowest, faster, slower;               /* of rotors; a height is at least `lowest` */
    const double *hubs, *axes, *drag_torque, *velocity_limit;         /* (n, 3), (n, 3), (n,), (6,) */
    const double *gain, *rotor_drag, *parasitic_drag, *ground;        /* (T, n), (T, 3), (T, 3), (T,) */
    const double *wall_normal, *wall_offset, *wall_edge;              /* (T, 3), (T,), (T,) */
    const double *wind, *swing, *swing_rate, *gusts;                  /* (T, 3), (T, 3), (T,), (gust_samples, T, 3) */
    const double *noise_std, *upright;                                /* (T, 15); (T,) least cosine of the tilt */
    const double *impact;                                             /* (T,) speed from which a contact is a crash */
    const long *command_steps, *sensor_steps;                         /* (T,) */
    double *speeds, *mean_thrust;                                     /* (T, n), (T, n) */
    double *targets, *q, *v, *force;                                  /* rings: (T, keep, ·) */
    long *crashed, *counts;                                           /* (T,), (T, 4) */
    long count, now, rows;                                            /* steps to take, steps before; rows of applied */
    const double *issued, *noise;                                     /* (T, n) rotor speeds; (T, 15) standard normal */
    const long *overdriven;                                           /* (T,) */
    double *applied, *truth, *measured;                               /* (T, rows, 6), (T, 16), (T, 16) */
} Flight;

typedef struct {
    double mass, lead, faster, slower;
    const double *inertia, *inverse;                                  /* (3, 3), (n, 4) */
    const double *lower, *upper, *slowest, *fastest;                  /* (n,) each */
    const double *kp, *kd, *kr, *kw;                                  /* (T,) each */
    double *speeds;                                                   /* (T, n) */
} Law;

typedef struct {
    const Flight *flight;
    const Law *law;
    long steps;                                                       /* of control */
    const double *q, *v, *a, *dither, *noise;                         /* (T, steps + 1, 7 | 6 | 6), (steps, T, n|15) */
    double *issued;                                                   /* (T, n), scratch */
    float *truth[3], *measured[3], *effort, *acting;                  /* (T, steps + 1, 7 | 6 | 3), (T, steps, n) */
} Rollout;

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

/* Turn the rotors for a step; return their mean squared speeds. */
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

/* Air velocity at a position. */
static void wind_at(const Flight *f, long world, long step, const double *position, double *wind) {
    const double time = f->dt * step, swing = sin(f->swing_rate[world] * time);
    const double depth = dot(position, f->wall_normal + 3 * world) - f->wall_offset[world];
    const double share = clamped(depth / f->wall_edge[world], 0.0, 1.0), exposed = share * share * (3.0 - 2.0 * share);
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
static void aerodynamics(const Flight *f, long world, const double *r, double height, const double *velocity,
                         const double *wind, const double *square, double *wrench) {
    const double relative[3] = {velocity[0] - wind[0], velocity[1] - wind[1], velocity[2] - wind[2]};
    const double *omega = velocity + 3;
    double air[3], force[3], torque[3] = {0.0};
    for (int i = 0; i < 3; ++i) air[i] = r[i] * relative[0] + r[3 + i] * relative[1] + r[6 + i] * relative[2];
    const double speed = sqrt(dot(air, air));
    for (int i = 0; i < 3; ++i) force[i] = f->parasitic_drag[3 * world + i] * speed * air[i];
    for (int n = 0; n < ROTORS; ++n) {
        const double *hub = f->hubs + 3 * n;
        const double thrust = f->gain[ROTORS * world + n] * square[n], turning = sqrt(square[n]);
        const double ratio = f->radius / (4.0 * fmax(height + dot(r + 6, hub), f->lowest));
        double pull[3], moment[3], turned[3];
        cross(omega, hub, turned);
        if (TILTED) {
            const double *axis = f->axes + 3 * n, *drag = f->rotor_drag + 3 * world;
            const double passing[3] = {air[0] + turned[0], air[1] + turned[1], air[2] + turned[2]};
            const double along = dot(passing, axis), push = thrust / (1.0 - f->ground[world] * ratio * ratio);
            for (int i = 0; i < 3; ++i) {
                pull[i] = turning * (drag[0] * (passing[i] - along * axis[i]) + drag[2] * along * axis[i]);
                pull[i] += push * axis[i];
                torque[i] -= f->drag_torque[n] * thrust * axis[i];
            }
        } else {
            for (int i = 0; i < 3; ++i) pull[i] = f->rotor_drag[3 * world + i] * turning * (air[i] + turned[i]);
            pull[2] += thrust / (1.0 - f->ground[world] * ratio * ratio);
        }
        cross(hub, pull, moment);
        for (int i = 0; i < 3; ++i) force[i] += pull[i], torque[i] += moment[i];
        if (!TILTED) torque[2] -= f->drag_torque[n] * thrust;
    }
    for (int i = 0; i < 3; ++i) wrench[i] = dot(r + 3 * i, force), wrench[3 + i] = torque[i];
}

/* Store a step: the state after it and its specific force; count crashes and violations. */
static void remember(const Flight *f, long world, long step, const mjData *d, const double *velocity, const double *r) {
    const long slot = world * f->keep + step % f->keep;
    double acceleration[3];
    for (int i = 0; i < 3; ++i) acceleration[i] = (d->qvel[i] - velocity[i]) / f->dt + (i == 2 ? f->gravity : 0.0);
    memcpy(f->q + 7 * slot, d->qpos, 7 * sizeof(double));
    memcpy(f->v + 6 * slot, d->qvel, 6 * sizeof(double));
    for (int i = 0; i < 3; ++i)
        f->force[3 * slot + i] = r[i] * acceleration[0] + r[3 + i] * acceleration[1] + r[6 + i] * acceleration[2];
    const double impact = f->impact[world];
    f->crashed[world] |= (d->ncon > 0 && dot(velocity, velocity) >= impact * impact) || d->xmat[9 + 8] < f->upright[world];
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

/* mjfBatchFunc. On entry and exit the data hold everything that follows from positions and velocities. */
void fly(const mjModel *m, mjData *d, int world, void *argument) {
    const Flight *f = argument;
    double thrust[ROTORS] = {0.0};
    for (long k = 0; k < f->count; ++k) {
        double r[9], velocity[6], square[ROTORS], wind[3], *applied = f->applied + 6 * (world * f->rows + k);
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
    for (int n = 0; n < ROTORS && f->count; ++n)
        f->mean_thrust[ROTORS * world + n] = f->coefficient * thrust[n] / f->count;
    sense(f, world, f->now + f->count);
}

/* Attitude with body z along a force and the heading of another attitude: flatness.py. */
static void desired(const double *force, const double *heading, double *out) {
    const double *h = heading, yaw = atan2(2.0 * (h[0] * h[3] + h[1] * h[2]), 1.0 - 2.0 * (h[2] * h[2] + h[3] * h[3]));
    const double c = cos(yaw), s = sin(yaw);
    const double x = c * force[0] + s * force[1], y = c * force[1] - s * force[0], z = force[2];
    const double pitch = 0.5 * atan2(x, z), roll = 0.5 * atan2(-y, sqrt(x * x + z * z));
    const double cp = cos(pitch), sp = sin(pitch), cr = cos(roll), sr = sin(roll);
    const double ch = cos(0.5 * yaw), sh = sin(0.5 * yaw);
    const double q[4] = {cp * cr, cp * sr, sp * cr, -sp * sr};
    out[0] = ch * q[0] - sh * q[3];
    out[1] = ch * q[1] - sh * q[2];
    out[2] = ch * q[2] + sh * q[1];
    out[3] = ch * q[3] + sh * q[0];
}

/* Rotation vector from one attitude to another, the short way. */
static void turn_between(const double *from, const double *to, double *out) {
    const double w = from[0] * to[0] + dot(from + 1, to + 1), sign = w < 0.0 ? -1.0 : 1.0;
    double u[3];
    cross(to + 1, from + 1, u);
    for (int i = 0; i < 3; ++i) u[i] = sign * (from[0] * to[1 + i] - to[0] * from[1 + i] + u[i]);
    const double sine = sqrt(dot(u, u)), share = sine > 1e-12 ? 2.0 * atan2(sine, fabs(w)) / sine : 2.0;
    for (int i = 0; i < 3; ++i) out[i] = u[i] * share;
}

/* Thrusts of the data-collection controller: data_collection_controller.py. */
static void command(const Rollout *r, long world, const double *state, const double *q, const double *v,
                    const double *a, double *thrust) {
    const Law *l = r->law;
    const double *attitude = state + 3, *velocity = state + 7, gravity = r->flight->gravity;
    const double w = attitude[0], x = attitude[1], y = attitude[2], z = attitude[3];
    const double up[3] = {2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)};
    double pull[3], wanted[4], target[4], error[3], turn[3];
    for (int i = 0; i < 3; ++i) pull[i] = a[i] + l->kp[world] * (q[i] - state[i]) + l->kd[world] * (v[i] - velocity[i]);
    pull[2] = fmax(pull[2] + gravity, 0.3 * gravity);
    wanted[0] = l->mass * dot(pull, up);
    desired(pull, q + 3, target);
    turn_between(attitude, target, error);
    for (int i = 0; i < 3; ++i)
        turn[i] = a[3 + i] + l->kr[world] * error[i] + l->kw[world] * (v[3 + i] - velocity[3 + i]);
    for (int i = 0; i < 3; ++i)
        wanted[1 + i] = turn[0] * l->inertia[i] + turn[1] * l->inertia[3 + i] + turn[2] * l->inertia[6 + i];
    for (int n = 0; n < ROTORS; ++n) {
        const double *row = l->inverse + 4 * n, coefficient = r->flight->coefficient;
        const double asked = clamped(row[0] * wanted[0] + dot(row + 1, wanted + 1), l->lower[n], l->upper[n]);
        double *speed = l->speeds + ROTORS * world + n;
        double ahead = *speed + l->lead * (sqrt(fmax(asked, 0.0) / coefficient) - *speed);
        ahead = clamped(ahead, l->slowest[n], l->fastest[n]);
        *speed += (ahead - *speed) * (ahead > *speed ? l->faster : l->slower);
        thrust[n] = coefficient * ahead * ahead;
    }
}

static void write_down(float *const logs[3], long row, const double *state) {
    for (int i = 0; i < 7; ++i) logs[0][7 * row + i] = (float)state[i];
    for (int i = 0; i < 6; ++i) logs[1][6 * row + i] = (float)state[7 + i];
    for (int i = 0; i < 3; ++i) logs[2][3 * row + i] = (float)state[13 + i];
}

/* mjfBatchFunc: fly one quadrotor under the data-collection controller from its first setpoint to its last. */
void follow(const mjModel *m, mjData *d, int world, void *argument) {
    const Rollout *r = argument;
    const double *truth = r->flight->truth + STATE * world, *measured = r->flight->measured + STATE * world;
    const long worlds = r->flight->worlds, period = r->flight->period;
    Flight f = *r->flight;
    f.count = period;
    for (long k = 0;; ++k) {
        const long row = world * (r->steps + 1) + k, past = world * r->steps + k;
        write_down(r->truth, row, truth);
        write_down(r->measured, row, measured);
        if (k == r->steps) break;
        double thrust[ROTORS];
        command(r, world, measured, r->q + 7 * row, r->v + 6 * row, r->a + 6 * row, thrust);
        for (int n = 0; n < ROTORS; ++n) {
            const double dither = r->dither[ROTORS * (k * worlds + world) + n];
            thrust[n] = clamped(thrust[n] + dither, r->law->lower[n], r->law->upper[n]);
            r->issued[ROTORS * world + n] = sqrt(fmax(thrust[n], 0.0) / f.coefficient);
        }
        f.now = r->flight->now + k * period;
        f.noise = r->noise + k * worlds * 15;
        f.applied = r->flight->applied + 6 * k * period;
        fly(m, d, world, &f);
        for (int n = 0; n < ROTORS; ++n) {
            r->effort[ROTORS * past + n] = (float)thrust[n];
            r->acting[ROTORS * past + n] = (float)f.mean_thrust[ROTORS * world + n];
        }
    }
}
