"""What users and our own tests build on: in-memory transports, a loopback, the stream promises.

    acceptor = MemoryAcceptor()
    async with wraith.serve(ServeOptions(listen=[acceptor], …)) as server:
        options = ConnectOptions(transport=MemoryTransport(acceptor), …)

Public, and kept as compatible as the rest.
"""

from wraith.testing.conformance import PROMISES, MakePair, Recorder
from wraith.testing.loopback import Loopback
from wraith.transports.memory import MemoryAcceptor, MemoryTransport

__all__ = ["PROMISES", "Loopback", "MakePair", "MemoryAcceptor", "MemoryTransport", "Recorder"]
