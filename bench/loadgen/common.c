/* Sockets, options, the byte pattern and the latency log. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char **options;
static int option_count;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(code);
}

void read_options(int argc, char **argv)
{
    options = argv;
    option_count = argc;
}

long long option(const char *name, long long otherwise)
{
    size_t size = strlen(name);
    for (int i = 0; i < option_count; i++)
        if (strncmp(options[i], name, size) == 0 && options[i][size] == '=')
            return atoll(options[i] + size + 1);
    return otherwise;
}

static struct sockaddr_in place(int net, int subnet, int host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl((uint32_t)(net << 24 | subnet << 8 | host));
    return address;
}

int origin_net(void)
{
    return (int)option("net", LOOPBACK);
}

static void no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int listen_loopback(int host, int *port)
{
    struct sockaddr_in address = place(origin_net(), 0, host, *port);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail(COULD_NOT, "socket: %s", strerror(errno));
    if (bind(fd, (struct sockaddr *)&address, size)) {
        close(fd);
        return -1;
    }
    if (listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&address, &size))
        fail(COULD_NOT, "listen: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

int connect_to(int net, int host, int to_host, int port)
{
    struct sockaddr_in own = place(net, 1, host, 0), address = place(net, 0, to_host, port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail(COULD_NOT, "socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (net == LOOPBACK && bind(fd, (struct sockaddr *)&own, sizeof own))
        fail(COULD_NOT, "bind: %s", strerror(errno));
    /* Blocking: on loopback it is done at once, or the accept queue is full. */
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        fail(COULD_NOT, "connect to port %d: %s", port, strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    no_delay(fd);
    return fd;
}

int accept_client(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        no_delay(fd);
    return fd;
}

void watch(int epoll, int op, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(epoll, op, fd, &event))
        fail(COULD_NOT, "epoll_ctl: %s", strerror(errno));
}

const char *pattern_at(uint64_t position)
{
    static char block[PATTERN_PERIOD + PIECE];
    static int filled;
    if (!filled) {
        uint64_t x = 88172645463325252ULL; /* xorshift64 */
        for (size_t i = 0; i < PATTERN_PERIOD; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            block[i] = (char)x;
        }
        for (size_t i = PATTERN_PERIOD; i < sizeof block; i++)
            block[i] = block[i - PATTERN_PERIOD];
        filled = 1;
    }
    return block + position % PATTERN_PERIOD;
}

int pattern_matches(const char *data, size_t size, uint64_t position, int compare_all)
{
    size_t ends = size < MESSAGE ? size : MESSAGE;
    const char *expected = pattern_at(position);
    if (compare_all)
        return memcmp(data, expected, size) == 0;
    return memcmp(data, expected, ends) == 0 &&
           memcmp(data + size - ends, expected + size - ends, ends) == 0;
}

void latencies_add(struct latencies *log, double seconds)
{
    if (log->count == log->room) {
        log->room = log->room ? log->room * 2 : 1 << 16;
        log->values = realloc(log->values, log->room * sizeof *log->values);
        if (!log->values)
            fail(COULD_NOT, "out of memory");
    }
    log->values[log->count++] = seconds > 4.0 ? UINT32_MAX : (uint32_t)(seconds * 1e9);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double latencies_at(struct latencies *log, double share)
{
    if (!log->count)
        return 0;
    qsort(log->values, log->count, sizeof *log->values, ascending);
    return log->values[(size_t)((double)(log->count - 1) * share)] / 1e3;
}
