/* loadgen ROLE [name=value …]: see common.h, and README.md for the roles. */
#include "common.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void out_of_time(int signal)
{
    static const char text[] = "out of time\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) < 0)
        _exit(COULD_NOT);
    _exit(COULD_NOT);
}

int main(int argc, char **argv)
{
    const char *role = argc > 1 ? argv[1] : "";
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, out_of_time);

    /* These two serve until their stdin ends. */
    if (!strcmp(role, "origin"))
        return run_origin();
    if (!strcmp(role, "relay"))
        return run_relay();

    /* The others are bounded in time. */
    alarm((unsigned)option("limit", 120));
    if (!strcmp(role, "down") || !strcmp(role, "up"))
        return run_bulk(!strcmp(role, "up"));
    if (!strcmp(role, "conn"))
        return run_connections();
    if (!strcmp(role, "ping"))
        return run_pings();
    if (!strcmp(role, "idle"))
        return run_idle();
    if (!strcmp(role, "stall"))
        return run_stall();
    if (!strcmp(role, "udp"))
        return run_datagrams();
    fail(COULD_NOT, "roles: origin relay down up conn ping idle stall udp");
}
