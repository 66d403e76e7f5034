import itertools

import pytest

from dataset.phantom.cohort.seeds import Split, Stream, generator


def test_every_key_names_a_stream_of_its_own() -> None:
    keys = list(itertools.product((0, 1), Split, Stream, (0, 1, 2), (0, 1), (0, 1)))
    first_numbers = {generator(*key).integers(2**63) for key in keys}
    assert len(first_numbers) == len(keys)


def test_trailing_zeros_are_the_same_thing_and_nothing_else_is() -> None:
    draw = [generator(1, Split.OTHER, Stream.STUDY, *indices).integers(2**63) for indices in ((5,), (5, 0), (5, 1))]
    assert draw[0] == draw[1] != draw[2]


@pytest.mark.parametrize("words", [(2**32, Split.OTHER, Stream.STUDY), (1, Split.OTHER, Stream.STUDY, -1)])
def test_words_that_do_not_fit_are_refused(words: tuple[Split | Stream | int, ...]) -> None:
    with pytest.raises(ValueError, match=r"2\*\*32"):
        generator(*words)  # type: ignore[arg-type]
