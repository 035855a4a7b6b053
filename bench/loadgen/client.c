#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int epoll = -1;
static int started;

void client_send(struct conn *conn, const void *data, size_t size)
{
    /* Small and first in an empty buffer: it is taken whole or not at all. */
    if (send(conn->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail(COULD_NOT, "send: %s", strerror(errno));
}

static void open_now(struct conn *conn, const struct role *role)
{
    conn->stage = OPEN;
    conn->have = 0;
    role->opened(conn);
}

void client_start(struct conn *conn, const struct role *role)
{
    int socks = (int)option("socks", 0);
    if (epoll < 0)
        epoll = epoll_create1(EPOLL_CLOEXEC);
    conn->host = role->spread ? 1 + started % HOSTS : 1;
    started++;
    conn->fd = socks ? connect_to(LOOPBACK, conn->host, 1, socks)
                     : connect_to(origin_net(), conn->host, conn->host, role->port);
    conn->have = 0;
    conn->position = 0;
    conn->stage = METHOD;
    watch(epoll, EPOLL_CTL_ADD, conn->fd, EPOLLIN, conn);
    if (socks)
        client_send(conn, "\x05\x01\x00", 3);
    else
        open_now(conn, role);
}

void client_close(struct conn *conn)
{
    close(conn->fd);
    conn->stage = CLOSED;
}

void client_watch(struct conn *conn, uint32_t events)
{
    watch(epoll, EPOLL_CTL_MOD, conn->fd, events, conn);
}

/* 1 when `size` bytes have arrived; never reads beyond them. */
static int collect(struct conn *conn, uint32_t size)
{
    ssize_t got = recv(conn->fd, conn->input + conn->have, size - conn->have, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got < 0)
        fail(COULD_NOT, "receive: %s", strerror(errno));
    if (got == 0)
        fail(conn->stage == OPEN ? WRONG_BYTES : COULD_NOT, "the connection ended early");
    conn->have += (uint32_t)got;
    return conn->have == size;
}

int client_message(struct conn *conn)
{
    if (!collect(conn, MESSAGE))
        return 0;
    conn->have = 0;
    return 1;
}

static void negotiate(struct conn *conn, const struct role *role)
{
    if (conn->stage == METHOD) {
        char request[10] = {5, 1, 0, 1, (char)origin_net(), 0, 0, (char)conn->host};
        uint16_t port = htons((uint16_t)role->port);
        if (!collect(conn, 2))
            return;
        if (memcmp(conn->input, "\x05\x00", 2))
            fail(COULD_NOT, "the proxy refused to serve without a password");
        memcpy(request + 8, &port, 2);
        conn->stage = REPLY;
        conn->have = 0;
        client_send(conn, request, sizeof request);
        return;
    }
    /* The address in the reply may be IPv4 (10 bytes) or IPv6 (22). */
    if (conn->have < 4 && !collect(conn, 4))
        return;
    if (conn->input[1] != 0)
        fail(COULD_NOT, "the proxy answered REP %d", conn->input[1]);
    if (collect(conn, conn->input[3] == 4 ? 22 : 10))
        open_now(conn, role);
}

static void serve(struct conn *conn, uint32_t events, const struct role *role)
{
    if (conn->stage == CLOSED)
        return;
    if (conn->stage != OPEN) {
        negotiate(conn, role);
        return;
    }
    if (events & EPOLLOUT && role->writable)
        role->writable(conn);
    if (conn->stage == OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        role->readable(conn);
}

void client_run(const struct role *role, const int *done, double deadline)
{
    struct epoll_event events[256];
    while (!*done) {
        double left = deadline ? deadline - now() : 1;
        if (left <= 0)
            return;
        int count = epoll_wait(epoll, events, 256, (int)(left * 1000) + 1);
        if (count < 0 && errno != EINTR)
            fail(COULD_NOT, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++)
            serve(events[i].data.ptr, events[i].events, role);
    }
}
