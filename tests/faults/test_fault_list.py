"""The list of faults, and the tests of them."""

import ast
from pathlib import Path

from workplace import LISTED


def test_every_fault_of_the_list_is_put_to_the_test() -> None:
    trees = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_*_faults.py")]
    words = {
        node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)
    }
    assert set(LISTED) - words == set()
