"""The cast: programs and servers that the stories talk to.

    tools      which programs are here, and the clean environment that they run in
    process    one child process: its readiness line, its log, its end, what it holds
    keys       keys, certificates and revocation lists, all by `ssh-keygen`
    roles      what either end of a tunnel is asked for, whoever plays it
    pairs      which pairs of programs a story runs with
    namespaces names that only one process can resolve
    openssh    `sshd` and `ssh` in those roles
    wraith     `wraith serve`, `wraith connect` and `wraith stream` in those roles
    stage      starts the cast for one story, and sees to it that nobody stays behind
    origins    destinations: echo, digest, black hole
    web        a web server with pages, files and repositories
    transfer   what a program does through a tunnel: echo, half-close, hashed megabytes
    socks      a SOCKS5 client that says exactly which reply it got

A process is only ever ended by its own id.
"""
