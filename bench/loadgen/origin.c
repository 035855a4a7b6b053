/* The far end: a source, a sink, an echo and one for datagrams, each on a port of its own.
 * Prints the ports, then serves until stdin ends. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { SOURCE, SINK, ECHO, DATAGRAMS, LISTENER, STDIN };

struct peer {
    int fd;
    enum kind kind;
    enum kind serves; /* of a listener: what its clients get */
    uint32_t have;    /* bytes of the order */
    struct order order;
    uint64_t position;
    uint64_t wrong;
};

static int epoll;
static char buffer[PIECE];

static struct peer *add(int fd, enum kind kind)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        fail(COULD_NOT, "out of memory");
    peer->fd = fd;
    peer->kind = kind;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, peer);
    return peer;
}

/* Listen on one port of the first `hosts` addresses. */
static int listen_for(enum kind kind, int hosts)
{
    for (int attempt = 0; attempt < 20; attempt++) {
        int fds[HOSTS], port = 0, host = 0;
        while (host < hosts && (fds[host] = listen_loopback(host + 1, &port)) >= 0)
            host++;
        for (int i = 0; i < host; i++) {
            if (host == hosts)
                add(fds[i], LISTENER)->serves = kind;
            else
                close(fds[i]);
        }
        if (host == hosts)
            return port;
    }
    fail(COULD_NOT, "no port is free on %d addresses", hosts);
}

static void drop(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

/* 1 when the order is whole, 0 when more is needed, -1 when the peer left. */
static int read_order(struct peer *peer)
{
    char *order = (char *)&peer->order;
    ssize_t got = recv(peer->fd, order + peer->have, sizeof peer->order - peer->have, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    peer->have += (uint32_t)got;
    return peer->have == sizeof peer->order;
}

static int serve_source(struct peer *peer, uint32_t events)
{
    if (peer->have < sizeof peer->order) {
        int whole = read_order(peer);
        if (whole > 0)
            watch(epoll, EPOLL_CTL_MOD, peer->fd, EPOLLOUT, peer);
        return whole;
    }
    if (!(events & EPOLLOUT)) /* all is sent, or the client left */
        return -1;
    for (int turn = 0; turn < 8 && peer->position < peer->order.bytes; turn++) {
        uint64_t left = peer->order.bytes - peer->position;
        size_t size = left < PIECE ? (size_t)left : PIECE;
        ssize_t sent = send(peer->fd, pattern_at(peer->position), size, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        peer->position += (uint64_t)sent;
    }
    if (peer->position == peer->order.bytes)
        watch(epoll, EPOLL_CTL_MOD, peer->fd, EPOLLIN, peer); /* the client closes */
    return 0;
}

static int serve_sink(struct peer *peer)
{
    if (peer->have < sizeof peer->order)
        return read_order(peer);
    for (int turn = 0; turn < 8; turn++) {
        ssize_t got = recv(peer->fd, buffer, PIECE, 0);
        if (got <= 0)
            return got < 0 && errno == EAGAIN ? 0 : -1;
        peer->wrong += !pattern_matches(buffer, (size_t)got, peer->position,
                                        (int)peer->order.compare_all);
        peer->position += (uint64_t)got;
        if (peer->position >= peer->order.bytes) {
            struct receipt receipt = {peer->position, peer->wrong};
            return send(peer->fd, &receipt, sizeof receipt, MSG_NOSIGNAL) < 0 ? -1 : 0;
        }
    }
    return 0;
}

static int serve_echo(struct peer *peer)
{
    ssize_t got = recv(peer->fd, buffer, PIECE, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    /* Messages are small and answered one by one: they fit the send buffer. */
    return send(peer->fd, buffer, (size_t)got, MSG_NOSIGNAL) == got ? 0 : -1;
}

static int serve_datagrams(struct peer *peer)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t got;
    while ((got = recvfrom(peer->fd, buffer, PIECE, 0, (struct sockaddr *)&from, &size)) >= 0)
        sendto(peer->fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, size);
    return 0;
}

static int serve(struct peer *peer, uint32_t events)
{
    int fd;
    switch (peer->kind) {
    case SOURCE:
        return serve_source(peer, events);
    case SINK:
        return serve_sink(peer);
    case ECHO:
        return serve_echo(peer);
    case DATAGRAMS:
        return serve_datagrams(peer);
    case LISTENER:
        while ((fd = accept_client(peer->fd)) >= 0)
            add(fd, peer->serves);
        return 0;
    case STDIN:
        if (read(0, buffer, sizeof buffer) <= 0)
            exit(0);
    }
    return 0;
}

static int hear_datagrams(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl((uint32_t)(origin_net() << 24 | 1));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        fail(COULD_NOT, "udp: %s", strerror(errno));
    add(fd, DATAGRAMS);
    return ntohs(address.sin_port);
}

int run_origin(void)
{
    struct epoll_event events[256];
    epoll = epoll_create1(EPOLL_CLOEXEC);
    add(0, STDIN);
    int source = listen_for(SOURCE, 1), sink = listen_for(SINK, 1), echo = listen_for(ECHO, HOSTS);
    pattern_at(0);
    printf("{\"source\": %d, \"sink\": %d, \"echo\": %d, \"udp\": %d}\n", source, sink, echo,
           hear_datagrams());
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            if (serve(peer, events[i].events) < 0)
                drop(peer);
        }
    }
}
