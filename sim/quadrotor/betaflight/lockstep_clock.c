// SPDX-License-Identifier: Apache-2.0
// A clock for Betaflight's simulator build that runs exactly as far as the state packets say, so that a flight is the
// same at any load of the machine. Preloaded (LD_PRELOAD) into the unmodified program by firmware.py.
//
// The program itself scales the processor's clock by the ratio of two packets' times. Here CLOCK_MONOTONIC is simulated:
//   - In the main thread each reading takes READING_NS, as on a microcontroller, and each sleep its duration.
//   - The main thread stops in its sleep (50 us after each pass of the scheduler) once it has reached the time of the
//     last state packet.
//   - A state packet is delivered after the main thread has reached the time of the packet before it, and the thread of
//     the TCP ports has taken what was sent to them and sent what the main thread has written. The clock is released
//     after the packet has been processed, that is, when its thread waits for the next one.
// So a sample of the gyroscope is held up to the next packet, what was sent over TCP before a state packet is there
// when the main thread goes on, and answers have left before its next motor packet.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STATE_PACKET_SIZE 144       // sizeof(fdm_packet): 18 doubles, the first is the time [s]
#define START_NS 1000000000LL       // the time at which the firmware boots
#define READING_NS 1000LL
#define PATIENCE_S 2                // of real time: the main thread has ended

typedef int (*select_type)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
typedef ssize_t (*recvfrom_type)(int, void *, size_t, int, struct sockaddr *, socklen_t *);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int64_t now_ns = START_NS, allowed_ns = START_NS;
static int waiting = 0;             // whether the main thread has reached allowed_ns
static int bell = -1;               // wakes the thread of the TCP ports
static uint64_t asked = 0, served = 0;  // its passes
static __thread int64_t pending_ns = 0;
static __thread uint64_t serving = 0;

static int in_main_thread(void) { return getpid() == (pid_t)syscall(SYS_gettid); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, clock, time);
    pthread_mutex_lock(&lock);
    int64_t shown = allowed_ns;     // for other threads: exactly the time of the last packet
    if (in_main_thread()) shown = now_ns += READING_NS;
    pthread_mutex_unlock(&lock);
    time->tv_sec = shown / 1000000000LL;
    time->tv_nsec = shown % 1000000000LL;
    return 0;
}

int nanosleep(const struct timespec *duration, struct timespec *remaining) {
    if (!in_main_thread()) return (int)syscall(SYS_nanosleep, duration, remaining);
    pthread_mutex_lock(&lock);
    now_ns += duration->tv_sec * 1000000000LL + duration->tv_nsec;
    while (now_ns >= allowed_ns) {
        waiting = 1;
        pthread_cond_broadcast(&changed);
        pthread_cond_wait(&changed, &lock);
    }
    waiting = 0;
    pthread_mutex_unlock(&lock);
    return 0;
}

// Wait until *value >= least, but not for ever: a main thread that saved its settings ends, and waits for the others.
static int reached(const uint64_t *value, const int *flag, uint64_t least) {
    struct timespec end;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_S;
    while (value != NULL ? *value < least : !*flag)
        if (pthread_cond_timedwait(&changed, &lock, &end) != 0) return 0;
    return 1;
}

static void release_clock(void) {   // the thread of the state packets has processed its packet
    if (pending_ns == 0) return;
    pthread_mutex_lock(&lock);
    allowed_ns = pending_ns;
    waiting = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pending_ns = 0;
}

// The thread of the TCP ports: as select, but woken by the bell too. It has passed once it comes here again.
static int select_ports(select_type original, int count, fd_set *readable, fd_set *writable, fd_set *failed,
                        struct timeval *timeout) {
    pthread_mutex_lock(&lock);
    if (bell < 0) bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    served = serving;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    FD_SET(bell, readable);
    int found = original(count > bell ? count : bell + 1, readable, writable, failed, timeout);
    if (found > 0 && FD_ISSET(bell, readable)) {
        uint64_t rung;
        pthread_mutex_lock(&lock);
        if (read(bell, &rung, sizeof rung) == (ssize_t)sizeof rung) serving = asked;
        pthread_mutex_unlock(&lock);
        FD_CLR(bell, readable);
        found--;
    }
    return found;
}

int select(int count, fd_set *readable, fd_set *writable, fd_set *failed, struct timeval *timeout) {
    static select_type original = NULL;
    if (original == NULL) original = (select_type)dlsym(RTLD_NEXT, "select");
    if (writable != NULL) return select_ports(original, count, readable, writable, failed, timeout);
    release_clock();
    return original(count, readable, writable, failed, timeout);
}

ssize_t recvfrom(int socket, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length) {
    static recvfrom_type original = NULL;
    if (original == NULL) original = (recvfrom_type)dlsym(RTLD_NEXT, "recvfrom");
    ssize_t received = original(socket, data, size, flags, from, length);
    if (received != STATE_PACKET_SIZE || size != STATE_PACKET_SIZE) return received;
    double time_s;
    memcpy(&time_s, data, sizeof time_s);
    pthread_mutex_lock(&lock);
    int64_t next_ns = START_NS + (int64_t)(time_s * 1e9 + 0.5);
    if (reached(NULL, &waiting, 0) && bell >= 0) {
        uint64_t pass = ++asked, one = 1;
        if (write(bell, &one, sizeof one) == (ssize_t)sizeof one) reached(&served, NULL, pass);
    }
    pending_ns = next_ns > allowed_ns ? next_ns : 0;
    pthread_mutex_unlock(&lock);
    return received;
}
