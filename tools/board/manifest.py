"""Evaluates manifest.py files without a MicroPython checkout: what would be frozen.

MicroPython's own functions, as far as our manifests use them, on our own files. What belongs to
MicroPython, $(PORT_DIR) and what is required from its library, is noted and not looked into,
unless a checkout is given. https://docs.micropython.org/en/latest/reference/manifest.html
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from board.definitions import BoardError


class Frozen(NamedTuple):
    """full_path: the source; target_path: what it is imported as; opt: of the compiler."""

    full_path: Path
    target_path: str
    opt: int | None


class _Options(SimpleNamespace):
    def defaults(self, **values: Any) -> None:
        for name, value in values.items():
            self.__dict__.setdefault(name, value)

    def __getattr__(self, _name: str) -> None:
        return None


class Manifest:
    """path: of the first manifest; variables: PORT_DIR, MPY_DIR of a checkout, if there is one;
    options: what the first manifest is included with.

    frozen     what is frozen, in its order
    foreign    manifests of MicroPython that were included
    required   packages of micropython-lib
    """

    def __init__(
        self, path: Path, variables: dict[str, Path] | None = None, **options: Any
    ) -> None:
        self.frozen: list[Frozen] = []
        self.foreign: list[str] = []
        self.required: list[str] = []
        self._variables = variables or {}
        self._here = path.resolve().parent
        self._visited: set[Path] = set()
        self.include(str(path.resolve()), **options)

    def files(self) -> list[Frozen]:
        """As MicroPython's: the list itself."""
        return self.frozen

    # -- what a manifest may call -----------------------------------------------------------------

    def metadata(self, **_: Any) -> None:
        """Nothing here depends on it."""

    def include(self, manifest: str | Iterable[str], **options: Any) -> None:
        """Evaluate another manifest, or the one of a directory."""
        if not isinstance(manifest, str):
            for one in manifest:
                self.include(one, **options)
            return
        path = self._path(manifest)
        if path is None:
            self.foreign.append(manifest)
            return
        if path.is_dir():
            path /= "manifest.py"
        if path in self._visited:
            return
        self._visited.add(path)
        here, self._here = self._here, path.parent
        known = {
            name: getattr(self, name)
            for name in ("metadata", "include", "require", "package", "module", "freeze")
        }
        try:
            code = compile(path.read_text(), str(path), "exec")
            with contextlib.chdir(path.parent):  # as MicroPython's does
                exec(code, {**known, "options": _Options(**options)})
        except BoardError:
            raise
        except (Exception, SystemExit) as error:
            raise BoardError(f"{path}: {type(error).__name__}: {error}") from error
        finally:
            self._here = here

    def require(self, name: str, **_: Any) -> None:
        """A package of micropython-lib."""
        self.required.append(name)

    def package(
        self,
        package_path: str,
        files: Iterable[str] | None = None,
        base_path: str = ".",
        opt: int | None = None,
    ) -> None:
        """A package's modules."""
        base = self._own(base_path)
        if not (base / package_path).is_dir():
            raise BoardError(f"{base / package_path}: no such package")
        if files is None:
            found = sorted((base / package_path).rglob("*.py"))
            names = [str(path.relative_to(base)) for path in found]
        else:
            names = [os.path.join(package_path, name) for name in files]
        for name in names:
            self._add(base / name, name, opt)

    def module(self, module_path: str, base_path: str = ".", opt: int | None = None) -> None:
        """One module."""
        self._add(self._own(base_path) / module_path, module_path, opt)

    def freeze(
        self, path: str, script: str | Iterable[str] | None = None, opt: int | None = None
    ) -> None:
        """Files of a directory."""
        base = self._own(path)
        if script is None:
            names = [str(one.relative_to(base)) for one in sorted(base.rglob("*.py"))]
        else:
            names = [script] if isinstance(script, str) else list(script)
        for name in names:
            self._add(base / name, name, opt)

    # -- paths ------------------------------------------------------------------------------------

    def _path(self, text: str) -> Path | None:
        """None: of a MicroPython that is not here."""
        for name, value in self._variables.items():
            text = text.replace(f"$({name})", str(value))
        return None if "$(" in text else (self._here / text).resolve()

    def _own(self, text: str) -> Path:
        path = self._path(text)
        if path is None:
            raise BoardError(f"{self._here}: {text} needs a MicroPython checkout")
        return path

    def _add(self, path: Path, target: str, opt: int | None) -> None:
        if not path.is_file():
            raise BoardError(f"{path}: no such file")
        self.frozen.append(Frozen(path, target, opt))
