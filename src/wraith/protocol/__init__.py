"""What Wraith speaks beside SSH: machines that take bytes and give events and bytes.

A machine is fed with `receive_data`, asked with `next_event`, and what it wants to say is fetched
with `data_to_send`. It opens nothing, waits for nothing and knows no clock, so whoever drives it
sets the time limits. `local_port` is the one that a client's listener drives; it picks a machine
for the language that the other side speaks. `events` holds what they all report.
"""
