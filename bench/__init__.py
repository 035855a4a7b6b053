"""The benchmark: Wraith beside OpenSSH and others, on one machine, in one run.

`python -m bench` measures, prints a table, and writes JSON and a picture; README.md explains each
measure.  The rooms, from the bottom up:

- `loadgen/`: the load, in C: an origin server, clients, a delaying relay.
- `native`: compiles and drives it.
- `processes`: starts and ends processes; reads their memory and CPU time from /proc.
- `peers/`: the systems measured; each knows how to start itself on loopback and where it listens.
- `figures`: what is measured, and what Wraith aims at.
- `measures`: how, one function each.
- `runner`: in which order, how often, with which peers.
- `results`: samples, medians, ratios, JSON.
- `report` and `picture`: what people see.

Linux only: it reads /proc.
"""
