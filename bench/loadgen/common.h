/* What the roles of the load generator share.
 *
 * One thread, one epoll, loopback only: every address is in 127.0.0.0/8 by
 * construction and only ports are given.  With `net=10` the origin is in
 * 10.0.0.0/8 instead, for namespaces where that is on loopback, too, or where a
 * device leads to it.  Options are words `name=value`.
 * Results are one JSON object on stdout.  Exit codes: 0 done, 1 could not
 * (refused, reset, timed out, a full machine), 2 wrong bytes arrived.
 */
#ifndef WRAITH_BENCH_COMMON_H
#define WRAITH_BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

enum { COULD_NOT = 1, WRONG_BYTES = 2 };

/* A period that no packet or buffer size divides, so that two swapped, lost
 * or doubled pieces of any usual size show. */
#define PATTERN_PERIOD 262139
#define PIECE (256 * 1024)
#define MESSAGE 64

/* The order that opens a source or sink connection, 16 bytes, host order:
 * both ends are this program on this machine. */
struct order {
    uint64_t bytes;
    uint64_t compare_all; /* 1: compare every byte; 0: the ends of each piece */
};

/* A sink's answer. */
struct receipt {
    uint64_t bytes;
    uint64_t wrong; /* pieces that differed from the pattern */
};

double now(void);
void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Value of option `name=`, or `otherwise`. */
long long option(const char *name, long long otherwise);
void read_options(int argc, char **argv);

/* The echo listens on 127.0.0.1 to 127.0.0.HOSTS, and clients spread over
 * them and over as many addresses of their own: thousands of connections a
 * second would else run out of ports while old ones are in TIME_WAIT. */
#define HOSTS 16
#define LOOPBACK 127

/* The first byte of the origin's addresses: option `net=`, or 127. */
int origin_net(void);
/* Listen on 127.0.0.`host`; port 0 picks a free one. -1: the port is taken. */
int listen_loopback(int host, int *port);
/* Connect from 127.0.1.`host` to 127.0.0.`to_host`; in another net than 127 from any address. */
int connect_to(int net, int host, int to_host, int port);
int accept_client(int listener);

void watch(int epoll, int op, int fd, uint32_t events, void *owner);

/* Bytes of the pattern from stream position `position`; PIECE are readable. */
const char *pattern_at(uint64_t position);
/* Whether `size` bytes received at `position` are the pattern's. */
int pattern_matches(const char *data, size_t size, uint64_t position, int compare_all);

/* A latency log in nanoseconds. */
struct latencies {
    uint32_t *values;
    size_t count, room;
};
void latencies_add(struct latencies *log, double seconds);
/* Microseconds at `share` (0.5: the median); sorts the log. */
double latencies_at(struct latencies *log, double share);

int run_origin(void);
int run_relay(void);
int run_bulk(int up);
int run_connections(void);
int run_pings(void);
int run_idle(void);
int run_stall(void);
int run_datagrams(void);

#endif
