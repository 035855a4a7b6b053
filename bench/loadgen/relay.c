/* A long link: bytes arrive `delay_ms` later, in each direction, at any rate.
 *
 * Prints its port, connects every client to `to`, and serves until stdin ends.
 * Each direction holds at most `room` bytes under way, far more than
 * any window under test, and stops reading beyond that. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 256 };

struct piece {
    struct piece *next;
    double due;
    size_t size, sent;
    char data[];
};

struct way { /* one direction */
    struct piece *head, *tail;
    uint64_t held;
    int ended;   /* the reading side has sent its EOF */
    int closed;  /* and it has been passed on */
    int blocked; /* the writing side took less than was due */
};

struct end {
    int fd;
    struct end *other;
    struct way out; /* what this end has sent, on its way to the other */
    uint32_t asked;
};

static int epoll;
static double delay;
static uint64_t room;
static struct end *ends[2 * PAIRS];
static int end_count;

static void discard(struct way *way)
{
    while (way->head) {
        struct piece *next = way->head->next;
        free(way->head);
        way->head = next;
    }
}

static void drop_pair(struct end *end)
{
    struct end *pair[2] = {end, end->other};
    int kept = 0;
    for (int i = 0; i < end_count; i++)
        if (ends[i] != pair[0] && ends[i] != pair[1])
            ends[kept++] = ends[i];
    end_count = kept;
    for (int i = 0; i < 2; i++) {
        close(pair[i]->fd);
        discard(&pair[i]->out);
        free(pair[i]);
    }
}

static void take(struct end *end)
{
    struct way *way = &end->out;
    /* A few pieces a turn, so that a fast sender does not hold up what is due. */
    for (int count = 0; count < 8 && way->held < room && !way->ended; count++) {
        struct piece *piece = malloc(sizeof *piece + PIECE);
        ssize_t got = piece ? recv(end->fd, piece->data, PIECE, 0) : -1;
        if (got <= 0) {
            way->ended = piece && (got == 0 || errno != EAGAIN);
            free(piece);
            return;
        }
        struct piece *fitted = realloc(piece, sizeof *piece + (size_t)got);
        piece = fitted ? fitted : piece;
        *piece = (struct piece){NULL, now() + delay, (size_t)got, 0};
        if (way->head)
            way->tail->next = piece;
        else
            way->head = piece;
        way->tail = piece;
        way->held += (uint64_t)got;
    }
}

/* Pass on what is due; the time of the next piece, or 0. -1: the link broke. */
static double pass(struct end *end, double moment)
{
    struct way *way = &end->out;
    way->blocked = 0;
    while (way->head && way->head->due <= moment) {
        struct piece *piece = way->head;
        ssize_t sent = send(end->other->fd, piece->data + piece->sent,
                            piece->size - piece->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return -1;
        if (sent < 0) {
            way->blocked = 1;
            return 0;
        }
        way->held -= (uint64_t)sent;
        piece->sent += (size_t)sent;
        if (piece->sent == piece->size) {
            way->head = piece->next;
            free(piece);
        }
    }
    if (way->ended && !way->head && !way->closed) {
        shutdown(end->other->fd, SHUT_WR);
        way->closed = 1;
    }
    return way->head ? way->head->due : 0;
}

static void ask(struct end *end)
{
    uint32_t events = 0;
    if (!end->out.ended && end->out.held < room)
        events |= EPOLLIN;
    if (end->other->out.blocked)
        events |= EPOLLOUT;
    if (events != end->asked)
        watch(epoll, EPOLL_CTL_MOD, end->fd, events, end);
    end->asked = events;
}

static struct end *add(int fd)
{
    struct end *end = calloc(1, sizeof *end);
    if (!end)
        fail(COULD_NOT, "out of memory");
    end->fd = fd;
    end->asked = EPOLLIN;
    ends[end_count++] = end;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, end);
    return end;
}

static void join(int client)
{
    if (client < 0 || end_count == 2 * PAIRS) {
        close(client);
        return;
    }
    struct end *near = add(client), *far = add(connect_to(LOOPBACK, 1, 1, (int)option("to", 0)));
    near->other = far;
    far->other = near;
}

/* One turn over all ends; the time to wake up at, or 0. */
static double turn(void)
{
    double moment = now(), wake = 0;
    for (int i = 0; i < end_count; i++) {
        double due = pass(ends[i], moment);
        if (due < 0 || (ends[i]->out.closed && ends[i]->other->out.closed)) {
            drop_pair(ends[i]);
            return moment; /* the list has changed: look again at once */
        }
        if (due && (!wake || due < wake))
            wake = due;
    }
    for (int i = 0; i < end_count; i++)
        ask(ends[i]);
    return wake;
}

int run_relay(void)
{
    struct epoll_event events[64];
    int port = 0, listener = listen_loopback(1, &port), in = 0;
    char byte;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    delay = (double)option("delay_ms", 50) / 1e3;
    room = (uint64_t)option("room", 256 << 20);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    watch(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, &in);
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
    for (;;) {
        double wake = turn();
        double left = (wake - now()) * 1000;
        int count = epoll_wait(epoll, events, 64, wake == 0 ? -1 : left > 0 ? (int)left + 1 : 0);
        for (int i = 0; i < count; i++) {
            void *owner = events[i].data.ptr;
            if (owner == &listener)
                join(accept_client(listener));
            else if (owner == &in) {
                if (read(0, &byte, 1) <= 0)
                    return 0;
            } else if (events[i].events & EPOLLIN)
                take(owner);
            else if (events[i].events & (EPOLLHUP | EPOLLERR))
                ((struct end *)owner)->out.ended = 1;
        }
    }
}
