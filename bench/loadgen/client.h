/* Client connections, direct or through a SOCKS5 proxy (RFC 1928, no
 * authentication), and the loop that serves them.  A role is three callbacks. */
#ifndef WRAITH_BENCH_CLIENT_H
#define WRAITH_BENCH_CLIENT_H

#include "common.h"

enum stage { METHOD, REPLY, OPEN, CLOSED };

struct conn {
    int fd;
    enum stage stage;
    uint32_t have;      /* bytes in `input` */
    uint64_t position;  /* bytes of the stream moved so far */
    double since;       /* the role's own clock */
    int host;           /* which of the origin's addresses it asks for */
    int mute;           /* opened, then never read */
    char input[MESSAGE];
};

struct role {
    void (*opened)(struct conn *);
    void (*readable)(struct conn *);
    void (*writable)(struct conn *);
    int port;   /* of the origin */
    int spread; /* over all of the origin's addresses, not the first alone */
};

void client_start(struct conn *conn, const struct role *role);
void client_close(struct conn *conn);
/* Ask for `events` from now on. */
void client_watch(struct conn *conn, uint32_t events);
/* Serve until `*done` or until `deadline` (0: none). */
void client_run(const struct role *role, const int *done, double deadline);
/* Read what is missing of one MESSAGE; 1 when it is whole. */
int client_message(struct conn *conn);
void client_send(struct conn *conn, const void *data, size_t size);

#endif
