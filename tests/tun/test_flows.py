"""Flows: which packets belong to which connection, from the first SYN to the last late segment."""

import random
import struct

import pytest

from wraith_tun.flows import PORTS, REST, Flow, Flows
from wraith_tun.packets import Ends

OWN, PEER = b"\xc6\x12\0\1", b"\xc6\x12\0\2"
OWN6, PEER6 = bytes(15) + b"\1", bytes(15) + b"\2"
LISTENER = 5555


def ends(port: int = 40000, to: bytes = b"\xc0\0\2\7") -> bytes:
    own = OWN if len(to) == 4 else OWN6
    return own + to + struct.pack(">HH", port, 443)


@pytest.fixture
def flows() -> Flows:
    return Flows([(OWN, PEER, LISTENER), (OWN6, PEER6, LISTENER + 1)])


def begin(flows: Flows, which: bytes) -> Flow:
    flow = flows.begin(which, b"the SYN")
    assert flow is not None
    return flow


class TestAFlow:
    def test_waits_until_it_is_opened(self, flows: Flows) -> None:
        begin(flows, ends())
        assert flows.knows(ends())
        assert flows.find(ends(), syn=True) is None

    @pytest.mark.parametrize("to", [b"\xc0\0\2\7", b"\x20\1" + bytes(13) + b"\7"])
    def test_once_open_leads_to_our_listener_and_back(self, flows: Flows, to: bytes) -> None:
        flow = begin(flows, ends(to=to))
        inward = flows.open(flow)
        assert flows.find(ends(to=to), syn=False) == inward == flows.find(ends(to=to), syn=True)
        there = Ends.of(inward.ends)
        assert there.source == (PEER if len(to) == 4 else PEER6)
        assert there.destination == (OWN if len(to) == 4 else OWN6)
        assert there.source_port == struct.pack(">H", flow.port)
        back = flows.find(there.reversed(), syn=False)
        assert back is not None
        assert back.ends == Ends.of(ends(to=to)).reversed()

    def test_that_is_over_still_takes_late_segments_but_no_new_syn(self, flows: Flows) -> None:
        flow = begin(flows, ends())
        flows.open(flow)
        flows.end(flow, 100.0)
        assert flows.find(ends(), syn=False) is not None
        assert flows.find(ends(), syn=True) is None
        assert not flows.knows(ends())

    def test_is_replaced_by_a_new_one_with_the_same_ends(self, flows: Flows) -> None:
        old = begin(flows, ends())
        flows.open(old)
        flows.end(old, 100.0)
        new = begin(flows, ends())
        assert new.port != old.port
        assert flows.find(ends(), syn=True) is None, "the SYN must not go the old way"
        inward = flows.open(new)
        assert flows.find(old.back, syn=False) is not None, "the old listener's last words"
        flows.end(begin(flows, ends(1)), 100.0 + REST)
        assert flows.find(old.back, syn=False) is None
        assert flows.find(ends(), syn=True) == inward, "forgetting the old leaves the new"

    def test_is_forgotten_after_its_rest(self, flows: Flows) -> None:
        flow = begin(flows, ends())
        flows.open(flow)
        flows.end(flow, 100.0)
        flows.end(begin(flows, ends(2)), 100.0 + REST - 1)
        assert flows.find(ends(), syn=False) is not None
        flows.end(begin(flows, ends(3)), 100.0 + REST)
        assert flows.find(ends(), syn=False) is None
        assert flows.find(flow.back, syn=False) is None

    def test_that_never_opened_is_forgotten_too(self, flows: Flows) -> None:
        flow = begin(flows, ends())
        flows.end(flow, 0.0)
        flows.end(begin(flows, ends(4)), REST)
        assert len(flows._resting) == 1


class TestWhatIsRefused:
    def test_more_than_the_limit(self) -> None:
        flows = Flows([(OWN, PEER, LISTENER)], limit=2)
        first = begin(flows, ends(1))
        begin(flows, ends(2))
        assert flows.begin(ends(3), b"") is None
        flows.end(first, 0.0)
        assert flows.begin(ends(3), b"") is not None

    def test_ipv6_where_there_is_none(self) -> None:
        flows = Flows([(OWN, PEER, LISTENER)])
        assert flows.begin(ends(to=bytes(16)), b"") is None


def test_when_all_ports_rest_the_one_that_rested_longest_is_used() -> None:
    flows = Flows([(OWN, PEER, LISTENER)])
    first = begin(flows, ends(0))
    flows.end(first, 0.0)
    for number in range(1, len(PORTS)):
        flows.end(begin(flows, struct.pack(">I", number) + ends()[4:]), 0.0)
    assert begin(flows, ends(9)).port == first.port


def test_beside_a_naive_twin_through_ten_thousand_events() -> None:
    """The twin keeps a list of all flows that ever were, and looks through it."""
    source, now = random.Random(9), 0.0
    flows, ever = Flows([(OWN, PEER, LISTENER)]), list[Flow]()
    ended: dict[Flow, float] = {}
    for _ in range(10_000):
        now += source.random()
        which = ends(source.randrange(20))
        live = [flow for flow in ever if flow.ends == which and flow not in ended]
        assert flows.knows(which) == bool(live)
        if not live:
            ever.append(begin(flows, which))
        elif not live[0].back:
            flows.open(live[0])
        elif source.random() < 0.5:
            flows.end(live[0], now)
            ended[live[0]] = now
        known = [flow for flow in ever if flow.back and now - ended.get(flow, now) < REST - 20]
        for flow in known:
            assert flows.find(flow.back, syn=False) is not None
        ports = [flow.port for flow in ever if now - ended.get(flow, now) < REST]
        assert len(ports) == len(set(ports)), "no port serves two flows"
        ever = [flow for flow in ever if now - ended.get(flow, now) < 2 * REST]


def test_a_flow_does_not_show_where_it_goes(flows: Flows) -> None:
    assert repr(begin(flows, ends())).startswith("<wraith_tun.flows.Flow object at ")
