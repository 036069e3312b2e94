"""How a network is trained follows from how many images there are."""

from __future__ import annotations

from trainer.recipe import FEW, images_at_once, recipe_for


def test_the_readme_network_on_cifar10_is_trained_as_its_readme_says() -> None:
    recipe = recipe_for(47_500)
    assert (recipe.epochs, recipe.batch_size, recipe.shift) == (10, 32, 0)


def test_few_images_are_shown_more_often_and_never_twice_the_same() -> None:
    recipe = recipe_for(1_000)
    assert recipe.shift > 0
    assert recipe.epochs == 250
    assert recipe.patience == 50
    assert recipe_for(FEW - 1).shift
    assert not recipe_for(FEW).shift


def test_the_accurate_network_always_changes_images_and_never_stops_early() -> None:
    recipe = recipe_for(47_500, "accurate")
    assert (recipe.shift * 32, recipe.cutout * 32) == (3, 10)
    assert recipe.patience is None


def test_what_the_user_says_holds() -> None:
    recipe = recipe_for(1_000, epochs=3, patience=1, mirror=False, seed=9)
    assert (recipe.epochs, recipe.patience, recipe.mirror, recipe.seed) == (3, 1, False, 9)


def test_large_images_are_taken_a_few_at_a_time() -> None:
    sizes = {side: images_at_once((side, side, 3)) for side in (16, 32, 64, 256, 512)}
    assert sizes == {16: 256, 32: 256, 64: 64, 256: 4, 512: 1}
    batches = {side: recipe_for(47_500, "accurate", shape=(side, side, 3)) for side in (32, 64)}
    assert {side: recipe.batch_size for side, recipe in batches.items()} == {32: 500, 64: 125}
