from __future__ import annotations

import ast
import hashlib
import hmac
import inspect

import pytest

from wraith.errors import UsageError
from wraith.protocol import first_bytes, stealth_proof

SECRET = b"0123456789abcdef"


def test_the_proof_is_what_its_formula_says() -> None:
    expected = hmac.new(SECRET, b"wraith stealth 1\0binding", hashlib.sha256).digest()
    assert stealth_proof.prove(SECRET, b"binding") == expected
    assert len(expected) == stealth_proof.SIZE
    assert stealth_proof.verify(SECRET, b"binding", expected)
    assert not stealth_proof.verify(SECRET, b"binding", expected[:-1] + b"x")
    assert not stealth_proof.verify(SECRET, b"binding", b"")


def test_a_secret_is_the_file_without_its_line_end() -> None:
    assert stealth_proof.parse_secret(SECRET + b"\r\n") == SECRET
    with pytest.raises(UsageError, match="shorter than 16 bytes") as caught:
        stealth_proof.parse_secret(b"hunter2hunter2\n\n\n\n")
    assert "hunter2" not in str(caught.value)


def test_secrets_and_proofs_are_compared_in_one_way_only() -> None:
    """How long a comparison takes cannot be tested well; which one is made can be read."""
    tree = ast.parse(inspect.getsource(stealth_proof.verify))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert calls == ["hmac.compare_digest", "prove"]
    admit = ast.parse(inspect.getsource(first_bytes.Doorkeeper.admit).replace("    def", "def", 1))
    compared = [ast.unparse(node) for node in ast.walk(admit) if isinstance(node, ast.Compare)]
    assert compared == ["self.secret is None"], "the proof is made and compared for whatever came"
