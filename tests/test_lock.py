"""The lock is complete for every system and Python that tilscore is for, as what is installed says of itself."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = [Requirement(line) for line in (REPO / "requirements.lock").read_text(encoding="utf-8").splitlines()]
PYTHONS = [f"3.{i}" for i in range(30) if f"3.{i}.1" in SpecifierSet(PROJECT["project"]["requires-python"])]
SYSTEMS = {
    "linux": ("linux", "posix", "Linux", "x86_64"),
    "linux-arm": ("linux", "posix", "Linux", "aarch64"),
    "windows": ("win32", "nt", "Windows", "AMD64"),
    "mac": ("darwin", "posix", "Darwin", "arm64"),
}
LINUX_ONLY = re.compile(r"nvidia-|cuda-|triton$")
"""There is nothing to install of these on a Mac, and Windows' torch from the same index needs none."""


def environment(system: str, python: str) -> dict[str, str]:
    """What the markers of requirements ask for."""
    names = ("sys_platform", "os_name", "platform_system", "platform_machine")
    return dict(zip(names, SYSTEMS[system], strict=True)) | {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def holds(requirement: Requirement, where: dict[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate(where | {"extra": extra})


def needed(where: dict[str, str]) -> dict[str, list[Requirement]]:
    """What tilscore and its tests need, and what that needs in turn; each with those who ask for it."""
    left_out = {canonicalize_name(Requirement(r).name) for r in PROJECT["tool"]["uv"]["override-dependencies"]}
    project = PROJECT["project"]
    waiting = [Requirement(r) for r in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
    asked: dict[str, list[Requirement]] = {}
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in left_out:
            continue
        asked.setdefault(name, []).append(requirement)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            try:
                own = [Requirement(r) for r in requires(requirement.name) or ()]
            except PackageNotFoundError:  # it belongs to another system, and says nothing here
                continue
            waiting += [r for r in own if holds(r, where, extra)]
    return asked


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_needed_is_pinned_once(system: str, python: str) -> None:
    where = environment(system, python)
    pins: dict[str, list[Version]] = {}
    for pin in LOCK:
        if holds(pin, where):
            (exactly,) = pin.specifier
            assert exactly.operator == "=="
            pins.setdefault(canonicalize_name(pin.name), []).append(Version(exactly.version))
    assert not {name for name, versions in pins.items() if len(versions) > 1}
    for name, requirements in needed(where).items():
        assert name in pins, f"{name} is needed on {system} under Python {python}"
        for requirement in requirements:
            assert requirement.specifier.contains(pins[name][0], prereleases=True), requirement
    assert system.startswith("linux") or not [name for name in pins if LINUX_ONLY.match(name)]


def test_every_python_is_named_where_users_look() -> None:
    assert PYTHONS[0] == "3.11"
    classifiers = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if "Python :: 3." in c]
    assert classifiers == PYTHONS
    setup = (REPO / "scripts" / "setup").read_text(encoding="utf-8")
    assert " ".join(f"python{p}" for p in PYTHONS) in setup
    assert f"(3, {PYTHONS[-1].partition('.')[2]})" in setup
    for text in (setup, (REPO / "README.md").read_text(encoding="utf-8")):
        assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in text
