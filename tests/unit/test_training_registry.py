"""Models on disk: whole or not at all, one current, and a way back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from intentloop_training.registry import ModelRegistry, NoModelError, OvertakenError


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models", "ds")


def add(registry: ModelRegistry, *versions: str) -> None:
    for version in versions:
        with registry.adding(version) as folder:
            (folder / "model.json").write_text(version)


def test_nothing_is_there_at_first(registry: ModelRegistry) -> None:
    assert registry.versions() == []
    assert registry.promotions().current is None
    assert registry.load_current() is None
    with pytest.raises(NoModelError, match="no model 'v1': none is there yet"):
        registry.promote("v1")


def test_a_version_appears_when_it_is_whole(registry: ModelRegistry) -> None:
    with registry.adding("v1") as folder:
        (folder / "model.json").write_text("half")
        assert not registry.has("v1")
        assert registry.versions() == []
    assert registry.has("v1")
    assert registry.versions() == ["v1"]


def test_a_build_that_fails_leaves_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    def build() -> None:
        with registry.adding("v1") as folder:
            (folder / "model.json").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        build()
    assert list((tmp_path / "models" / "ds").iterdir()) == []


def test_what_a_killed_builder_left_is_removed_by_the_next(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    left = tmp_path / "models" / "ds" / ".unfinished-v1-0123abcd"
    left.mkdir(parents=True)
    (left / "model.skops").write_text("half")
    add(registry, "v2")

    assert not left.exists()
    assert registry.versions() == ["v2"]


def test_a_version_is_never_replaced(registry: ModelRegistry) -> None:
    add(registry, "v1")
    with pytest.raises(OSError, match="v1"), registry.adding("v1") as folder:
        (folder / "model.json").write_text("other")
    assert (registry.folder_of("v1") / "model.json").read_text() == "v1"


def test_a_rollback_goes_back_one_promotion_at_a_time(registry: ModelRegistry) -> None:
    add(registry, "v1", "v2", "v3")
    for version in ("v1", "v2", "v3"):
        registry.promote(version)

    assert registry.roll_back() == "v2"
    assert registry.roll_back() == "v1"
    with pytest.raises(NoModelError, match="no earlier model"):
        registry.roll_back()
    assert registry.promotions().current == "v1"


def test_what_was_rolled_back_comes_back_only_when_a_person_says_so(
    registry: ModelRegistry,
) -> None:
    add(registry, "v1", "v2")
    registry.promote("v1")
    registry.promote("v2")
    registry.roll_back()

    with pytest.raises(OvertakenError, match="v2 has been rolled back"):
        registry.promote_instead_of("v1", "v2")
    registry.promote("v2")
    assert registry.promotions().current == "v2"


def test_promoting_again_after_a_crash_changes_nothing(registry: ModelRegistry) -> None:
    add(registry, "v1", "v2")
    registry.promote("v1")
    registry.promote_instead_of("v1", "v2")
    before = registry.promotions()
    registry.promote_instead_of("v1", "v2")

    assert registry.promotions() == before


def test_of_many_promotions_at_once_none_is_lost(registry: ModelRegistry) -> None:
    versions = [f"v{number}" for number in range(20)]
    add(registry, *versions)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.promote, versions))

    assert sorted(registry.promotions().promoted) == sorted(versions)


def test_datasets_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = ModelRegistry(tmp_path, "one"), ModelRegistry(tmp_path, "other")
    add(one, "v1")
    one.promote("v1")

    assert other.versions() == []
    assert other.promotions().current is None
