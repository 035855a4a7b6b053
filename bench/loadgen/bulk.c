/* down and up: n streams carry `bytes` in all, as fast as they can.
 * The clock runs from the first connect to the last byte; for `up` to the
 * last receipt, so that what is counted has arrived. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint64_t share; /* bytes of each stream */
static int unfinished, finished, upwards, compare_all;
static double first_byte;
static char buffer[PIECE];

static void complete(struct conn *conn)
{
    client_close(conn);
    finished = --unfinished == 0;
}

static void opened(struct conn *conn)
{
    struct order order = {share, (uint64_t)compare_all};
    client_send(conn, &order, sizeof order);
    if (upwards)
        client_watch(conn, EPOLLIN | EPOLLOUT);
}

static void take(struct conn *conn)
{
    for (int turn = 0; turn < 8; turn++) {
        ssize_t got = recv(conn->fd, buffer, PIECE, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0)
            fail(COULD_NOT, "receive: %s", strerror(errno));
        if (got == 0)
            fail(WRONG_BYTES, "ended after %llu bytes", (unsigned long long)conn->position);
        if (!first_byte)
            first_byte = now();
        if (!pattern_matches(buffer, (size_t)got, conn->position, compare_all))
            fail(WRONG_BYTES, "wrong bytes near %llu", (unsigned long long)conn->position);
        conn->position += (uint64_t)got;
        if (conn->position > share)
            fail(WRONG_BYTES, "more bytes than were sent");
        if (conn->position == share) {
            complete(conn);
            return;
        }
    }
}

static void take_receipt(struct conn *conn)
{
    struct receipt receipt;
    ssize_t got = recv(conn->fd, conn->input + conn->have, sizeof receipt - conn->have, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail(COULD_NOT, "no receipt after %llu bytes", (unsigned long long)conn->position);
    conn->have += (uint32_t)got;
    if (conn->have < sizeof receipt)
        return;
    memcpy(&receipt, conn->input, sizeof receipt);
    if (receipt.bytes != share || receipt.wrong)
        fail(WRONG_BYTES, "%llu bytes arrived, %llu pieces wrong",
             (unsigned long long)receipt.bytes, (unsigned long long)receipt.wrong);
    complete(conn);
}

static void give(struct conn *conn)
{
    for (int turn = 0; turn < 8 && conn->position < share; turn++) {
        uint64_t left = share - conn->position;
        size_t size = left < PIECE ? (size_t)left : PIECE;
        ssize_t sent = send(conn->fd, pattern_at(conn->position), size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            fail(COULD_NOT, "send: %s", strerror(errno));
        conn->position += (uint64_t)sent;
    }
    if (conn->position == share)
        client_watch(conn, EPOLLIN);
}

int run_bulk(int up)
{
    int streams = (int)option("streams", 1);
    struct role role = {opened, up ? take_receipt : take, up ? give : NULL,
                        (int)option(up ? "sink" : "source", 0), 0};
    struct conn *conns = calloc((size_t)streams, sizeof *conns);
    upwards = up;
    compare_all = (int)option("compare_all", 0);
    share = (uint64_t)option("bytes", 1 << 30) / (uint64_t)streams;
    unfinished = streams;
    pattern_at(0);

    double start = now();
    for (int i = 0; i < streams; i++)
        client_start(&conns[i], &role);
    client_run(&role, &finished, 0);
    double seconds = now() - start;
    uint64_t bytes = share * (uint64_t)streams;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"bytes_per_second\": %.0f, \"first_byte\": %.6f}\n",
           (unsigned long long)bytes, seconds, (double)bytes / seconds,
           up ? 0 : first_byte - start);
    return 0;
}
