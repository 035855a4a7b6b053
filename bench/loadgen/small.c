/* The roles of small messages: conn, ping, idle, stall. */
#define _GNU_SOURCE
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STALLED = 4 };

static struct role role;
static struct latencies log;
static long long done_count, opened_count, wanted, started, enough;
static int finished;
static double deadline;

static struct conn *new_conns(long long count)
{
    struct conn *conns = calloc((size_t)count, sizeof *conns);
    if (!conns)
        fail(COULD_NOT, "out of memory");
    role.port = (int)option("echo", 0);
    return conns;
}

static void say(struct conn *conn)
{
    client_send(conn, pattern_at(conn->position), MESSAGE);
}

/* 1 when the echo of the last message has come back whole. */
static int heard(struct conn *conn)
{
    if (!client_message(conn))
        return 0;
    if (memcmp(conn->input, pattern_at(conn->position), MESSAGE))
        fail(WRONG_BYTES, "an echo differed from what was sent");
    conn->position += MESSAGE;
    return 1;
}

static void report_latencies(double seconds)
{
    if (!done_count)
        fail(COULD_NOT, "nothing came back within %.1f s", seconds);
    printf("{\"count\": %lld, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           done_count, (double)done_count / seconds, latencies_at(&log, 0.5),
           latencies_at(&log, 0.99));
}

/* conn and ping last `ms`, or until `count` are done. */
static double until(double start)
{
    enough = option("count", 0);
    return enough ? 0 : start + (double)option("ms", 3000) / 1e3;
}

/* conn: connect, one echo, close, and again, `at_once` of them. */

static void connection_heard(struct conn *conn)
{
    if (!heard(conn))
        return;
    double moment = now();
    latencies_add(&log, moment - conn->since);
    client_close(conn);
    if ((finished = ++done_count >= enough && enough))
        return;
    conn->since = moment;
    client_start(conn, &role);
}

int run_connections(void)
{
    long long at_once = option("at_once", 32);
    struct conn *conns = new_conns(at_once);
    role = (struct role){say, connection_heard, NULL, role.port, 1};
    double start = now();
    deadline = until(start);
    for (long long i = 0; i < at_once; i++) {
        conns[i].since = now();
        client_start(&conns[i], &role);
    }
    client_run(&role, &finished, deadline);
    report_latencies(now() - start);
    return 0;
}

/* ping: `at_once` connections, each with one message under way. */

static void ping_opened(struct conn *conn)
{
    (void)conn;
    finished = ++opened_count == wanted;
}

static void ping_say(struct conn *conn)
{
    conn->since = now();
    say(conn);
}

static void ping_heard(struct conn *conn)
{
    if (conn->mute)
        fail(COULD_NOT, "a stalled stream was ended");
    if (!heard(conn))
        return;
    latencies_add(&log, now() - conn->since);
    if (!(finished = ++done_count >= enough && enough))
        ping_say(conn);
}

static void ping_through(struct conn *conns, long long count)
{
    double start = now();
    finished = 0;
    deadline = until(start);
    for (long long i = 0; i < count; i++)
        ping_say(&conns[i]);
    client_run(&role, &finished, deadline);
    report_latencies(now() - start);
}

int run_pings(void)
{
    wanted = option("at_once", 32);
    struct conn *conns = new_conns(wanted);
    role = (struct role){ping_opened, ping_heard, NULL, role.port, 1};
    for (long long i = 0; i < wanted; i++)
        client_start(&conns[i], &role);
    client_run(&role, &finished, 0);
    ping_through(conns, wanted);
    return 0;
}

/* idle: open `channels`, each used once, then hold them until stdin ends. */

static struct conn *idle_conns;

static void idle_next(void)
{
    if (started < wanted)
        client_start(&idle_conns[started++], &role);
}

static void idle_heard(struct conn *conn)
{
    if (!heard(conn))
        return;
    finished = ++done_count == wanted;
    idle_next();
}

int run_idle(void)
{
    char byte;
    wanted = option("channels", 3000);
    idle_conns = new_conns(wanted);
    role = (struct role){say, idle_heard, NULL, role.port, 1};
    for (int i = 0; i < 32; i++)
        idle_next();
    client_run(&role, &finished, 0);
    printf("{\"channels\": %lld}\n", done_count);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}

/* stall: streams that ask for `bytes` each and never read, beside a live one. */

static void stall_opened(struct conn *conn)
{
    if (conn->mute) {
        struct order order = {(uint64_t)option("bytes", 300000000), 0};
        client_send(conn, &order, sizeof order);
        client_watch(conn, 0);
    }
    finished = 1;
}

int run_stall(void)
{
    struct conn *conns = new_conns(STALLED + 1);
    int echo = role.port;
    for (int i = 0; i <= STALLED; i++) {
        conns[i].mute = i < STALLED;
        role = (struct role){stall_opened, ping_heard, NULL,
                             i < STALLED ? (int)option("source", 0) : echo, 0};
        finished = 0;
        client_start(&conns[i], &role);
        client_run(&role, &finished, 0);
    }
    ping_through(&conns[STALLED], 1);
    return 0;
}
