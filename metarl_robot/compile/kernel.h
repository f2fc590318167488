// SPDX-License-Identifier: Apache-2.0
/* Definitions shared by the C files. kernel.py replaces their #include by this text.
 *
 * Structs that Python fills by field name (c_struct.py) are declared as `typedef struct { … } Name;`, all others with a
 * tag. Sizes and indices have the type long. Matrices are row-major.
 */
#ifndef METARL_KERNEL_H
#define METARL_KERNEL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Vectors of LANES doubles: `lanes` for variables and arrays of them, `unaligned_lanes` in any array of doubles. */
#define LANES 8
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8 * LANES), may_alias));
typedef double unaligned_lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* Rounds up to a multiple of `step`. */
static inline long rounded_up(long size, long step) { return (size + step - 1) / step * step; }

static inline double clamped(double x, double low, double high) { return fmin(fmax(x, low), high); }

/* y += a x */
static inline void add(double *restrict y, double a, const double *restrict x, long count) {
    for (long j = 0; j < count; ++j) y[j] += a * x[j];
}

#endif
