"""The house keeps its order: imports run one way, each package owns its state, a name means one thing."""

from __future__ import annotations

import ast

import pytest

from tests.support.house import PACKAGES, ROOT, House

HOUSE = House()
SUBMODULES = sorted(name for name in HOUSE.modules if name.startswith("signaling"))


def test_no_modules_import_each_other() -> None:
    assert HOUSE.circles() == []


@pytest.mark.parametrize("module", SUBMODULES)
def test_signalling_imports_nothing_of_the_peer(module: str) -> None:
    bases = {base.split(".")[0] for base, _ in HOUSE.modules[module].imports()}
    assert "peer" not in bases


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_no_tests_and_no_examples(package: str) -> None:
    for name, module in HOUSE.modules.items():
        if name.startswith(package):
            bases = {base.split(".")[0] for base, _ in module.imports()}
            assert not bases & {"tests", "examples"}, name


def test_modules_seldom_reach_into_private_attributes_of_others() -> None:
    reaches = HOUSE.private_reaches("peer")
    assert len(reaches) < 60, "\n".join(reaches)
    assert HOUSE.private_reaches("peer.jsep") == []
    assert HOUSE.private_reaches("signaling") == []


def test_a_public_class_name_means_one_class() -> None:
    assert HOUSE.names_defined_twice() == {}


def test_few_engines_inherit_those_of_aiortc() -> None:
    assert len(HOUSE.engines()) <= 4, HOUSE.engines()


def test_nobody_asks_for_an_event_loop_that_may_not_run() -> None:
    assert HOUSE.calls("get_event_loop") == []


def test_tasks_have_an_owner_and_no_sets_made_by_hand() -> None:
    assert HOUSE.hand_made_task_sets() == []


def test_nearly_every_public_definition_has_a_docstring() -> None:
    missing, count = HOUSE.undocumented()
    assert len(missing) < 0.1 * count, "\n".join(missing)


def test_neighbours_in_a_folder_are_imported_by_their_short_names() -> None:
    found = [
        f"{module.place}: {base}"
        for module in HOUSE.modules.values()
        for base, _ in module.imports(relative=False)
        if module.path.name != "__init__.py" and base.rpartition(".")[0] == module.parent
    ]
    assert found == []


def test_docstrings_are_prose_without_field_lists() -> None:
    marks = (":param", ":raises", ":return", "Args:", "Raises:", "Returns:")
    found = [
        f"{module.place}:{node.lineno}"
        for module in HOUSE.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if any(line.strip().startswith(marks) for line in node.value.splitlines())
    ]
    assert found == []


def test_the_package_itself_has_few_files_beside_its_folders() -> None:
    assert len(list((ROOT / "peer").glob("*.py"))) <= 6
