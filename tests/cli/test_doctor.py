"""`wraith doctor` on the command line."""

from __future__ import annotations

from tests.support.command import Child, Material, wraith


def test_a_way_that_works_and_one_that_does_not(material: Material) -> None:
    with Child(*material.serve(), ready=True) as server:
        facts = server.facts()
        connect = material.connect(facts)[1:]
        for words in (["doctor", *connect], ["doctor", "connect", *connect]):
            well = wraith(*words)
            assert well.exit_code == 0, well.stdout + well.stderr
            assert "ok    authentication" in well.stdout
        refused = wraith("doctor", *connect, "--host-key", "SHA256:" + "A" * 43)
        assert refused.exit_code == 1
        assert "FAIL  host-key" in refused.stdout
        assert "→" in refused.stdout
        again = wraith("doctor", *material.serve("--listen", facts["listen"][0]))
        assert again.exit_code == 1
        assert "already in use" in again.stdout
    assert wraith("doctor", *material.serve()).exit_code == 0


def test_several_workers_are_examined_like_one(material: Material) -> None:
    assert wraith("doctor", *material.serve("--workers", "2")).exit_code == 0
    shared = wraith("doctor", *material.serve("--workers", "2", "--listen", "iroh://"))
    assert shared.exit_code == 2
    assert "several workers cannot share iroh://" in shared.stderr


def test_what_cannot_be_examined_is_told() -> None:
    assert wraith("doctor", "connect").exit_code == 2
    assert "no server given" in wraith("doctor", "connect").stderr
    assert wraith("doctor", "--colour", "x").exit_code == 2
    assert "wraith doctor serve" in wraith("doctor", "--help").stdout
