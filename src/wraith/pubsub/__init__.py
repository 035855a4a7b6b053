"""Events over any stream of bytes: topics, listeners, and the bus that joins them.

    EventTarget   the client's side, over one stream
    Bus           the server's side, `server.bus`; programs on the server use it, too
    Subscription  the events of one topic, for `async for`

Knows nothing of SSH. The names below are public.
"""

from wraith.protocol.envelope import EventEnvelope
from wraith.pubsub.backend import Gap
from wraith.pubsub.bus import Action, Bus, BusEvent, Identity
from wraith.pubsub.event_target import ByteStream, EventTarget
from wraith.pubsub.listeners import Subscription

__all__ = [
    "Action",
    "Bus",
    "BusEvent",
    "ByteStream",
    "EventEnvelope",
    "EventTarget",
    "Gap",
    "Identity",
    "Subscription",
]
