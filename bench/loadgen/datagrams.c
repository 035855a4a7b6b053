/* The role udp: ping-pong by datagrams, `at_once` associations (RFC 1928,
 * section 7) with one message under way on each.  One that is lost is sent
 * again after LOST seconds, and counted. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER 10
#define LOST 0.2

struct association {
    int fd, control;
    uint64_t position;
    double since;
};

static char header[HEADER];
static int header_size, epoll;
static long long done_count, lost_count;
static struct latencies log;

static void read_exactly(int fd, void *data, size_t size)
{
    if (recv(fd, data, size, MSG_WAITALL) != (ssize_t)size)
        fail(COULD_NOT, "the proxy ended the handshake");
}

/* The relay's address; the connection it belongs to stays open. */
static struct sockaddr_in associate(int socks, int *control)
{
    static const char greeting[] = {5, 1, 0}, request[] = {5, 3, 0, 1, 0, 0, 0, 0, 0, 0};
    struct sockaddr_in relay = {.sin_family = AF_INET};
    char method[2], reply[10];
    int fd = connect_to(LOOPBACK, 1, 1, socks);
    fcntl(fd, F_SETFL, 0);
    if (send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) < 0)
        fail(COULD_NOT, "send: %s", strerror(errno));
    read_exactly(fd, method, sizeof method);
    if (method[1] || send(fd, request, sizeof request, MSG_NOSIGNAL) < 0)
        fail(COULD_NOT, "the proxy wants authentication");
    read_exactly(fd, reply, sizeof reply);
    if (reply[1] || reply[3] != 1)
        fail(COULD_NOT, "no UDP ASSOCIATE: reply %d", reply[1]);
    memcpy(&relay.sin_addr, reply + 4, 4);
    memcpy(&relay.sin_port, reply + 8, 2);
    *control = fd;
    return relay;
}

static void begin(struct association *it, int socks, int echo)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)echo)};
    int net = origin_net();
    to.sin_addr.s_addr = htonl((uint32_t)(net << 24 | 1));
    if (socks) {
        const char start[] = {0, 0, 0, 1, (char)net, 0, 0, 1};
        memcpy(header, start, sizeof start);
        memcpy(header + 8, &to.sin_port, 2);
        header_size = HEADER;
        to = associate(socks, &it->control);
    }
    /* From the address that the control connection comes from. */
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (socks ? 256 : 0));
    it->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (it->fd < 0 ||
        ((socks || net == LOOPBACK) && bind(it->fd, (struct sockaddr *)&own, sizeof own)) ||
        connect(it->fd, (struct sockaddr *)&to, sizeof to))
        fail(COULD_NOT, "udp: %s", strerror(errno));
    watch(epoll, EPOLL_CTL_ADD, it->fd, EPOLLIN, it);
}

static void say(struct association *it)
{
    char datagram[HEADER + MESSAGE];
    memcpy(datagram, header, (size_t)header_size);
    memcpy(datagram + header_size, pattern_at(it->position), MESSAGE);
    it->since = now();
    if (send(it->fd, datagram, (size_t)header_size + MESSAGE, 0) < 0 && errno != EAGAIN)
        fail(COULD_NOT, "send: %s", strerror(errno));
}

static void hear(struct association *it)
{
    char datagram[HEADER + MESSAGE + 1];
    ssize_t got = recv(it->fd, datagram, sizeof datagram, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got != header_size + MESSAGE)
        fail(got < 0 ? COULD_NOT : WRONG_BYTES, "a datagram of %zd bytes came back", got);
    if (memcmp(datagram + header_size, pattern_at(it->position), MESSAGE)) {
        if (lost_count)
            return; /* the late echo of one that was sent again */
        fail(WRONG_BYTES, "an echo differed from what was sent");
    }
    latencies_add(&log, now() - it->since);
    it->position += MESSAGE;
    done_count++;
    say(it);
}

int run_datagrams(void)
{
    int count = (int)option("at_once", 1), socks = (int)option("socks", 0);
    struct association *all = calloc((size_t)count, sizeof *all);
    struct epoll_event events[64];
    if (!all)
        fail(COULD_NOT, "out of memory");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++)
        begin(&all[i], socks, (int)option("udp", 0));
    double start = now(), end = start + (double)option("ms", 2000) / 1e3;
    for (int i = 0; i < count; i++)
        say(&all[i]);
    for (double moment = start; moment < end; moment = now()) {
        int ready = epoll_wait(epoll, events, 64, 50);
        for (int i = 0; i < ready; i++)
            hear(events[i].data.ptr);
        for (int i = 0; i < count && ready <= 0; i++)
            if (moment - all[i].since > LOST) {
                lost_count++;
                say(&all[i]);
            }
    }
    if (!done_count)
        fail(COULD_NOT, "nothing came back");
    printf("{\"count\": %lld, \"lost\": %lld, \"per_second\": %.1f, \"p99_us\": %.1f}\n", done_count,
           lost_count, (double)done_count / (now() - start), latencies_at(&log, 0.99));
    return 0;
}
