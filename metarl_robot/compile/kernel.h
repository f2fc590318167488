// SPDX-License-Identifier: Apache-2.0
/* What the C files share. kernel.py puts this text in the place of the #include.
 *
 * Structs that Python fills by field name (c_struct.py) are declared as `typedef struct { … } Name;`, all others with a
 * tag. Sizes and indices are longs. Matrices are row-major.
 */
#ifndef METARL_KERNEL_H
#define METARL_KERNEL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A vector of LANES doubles, as a type for local variables and arrays, and for any place in an array of doubles. */
#define LANES 8
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8 * LANES), may_alias));
typedef double unaligned_lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* The next multiple of `step`. */
static inline long rounded_up(long size, long step) { return (size + step - 1) / step * step; }

static inline double clamped(double x, double low, double high) { return fmin(fmax(x, low), high); }

/* y += a x */
static inline void add(double *restrict y, double a, const double *restrict x, long count) {
    for (long j = 0; j < count; ++j) y[j] += a * x[j];
}

#endif
