from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.studies.plan.sharding import images_per_shard, pack_studies

studies = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10**9)), max_size=100)


@given(st.integers(1, 10**8))
def test_auto_size_keeps_its_bounds_and_aims_at_5000_shards(n_images: int) -> None:
    size = images_per_shard(n_images, "auto")
    assert 256 <= size <= 2048
    assert size == 2048 or n_images / size <= 5000
    assert size == 256 or n_images / (size - 1) > 5000  # no larger than needed


@given(st.integers(1, 10**8), st.integers(1, 10**6))
def test_a_given_size_is_kept(n_images: int, size: int) -> None:
    assert images_per_shard(n_images, size) == size


@given(studies, st.integers(1, 60))
def test_shards_are_runs_of_whole_studies_in_order(sizes: list[tuple[int, int]], limit: int) -> None:
    shards = pack_studies(sizes, limit)
    start = 0
    for shard in shards:
        run = sizes[start : start + shard.n_studies]
        assert shard.n_images == sum(n for n, _ in run)
        assert shard.size_bytes == sum(size for _, size in run)
        assert shard.n_images <= limit or shard.n_studies == 1
        start += shard.n_studies
    assert start == len(sizes)


@given(studies, st.integers(1, 60))
def test_no_shard_could_have_taken_the_next_study(sizes: list[tuple[int, int]], limit: int) -> None:
    shards = pack_studies(sizes, limit)
    start = 0
    for shard, following in pairwise(shards):
        start += shard.n_studies
        assert shard.n_images + sizes[start][0] > limit
        assert following.n_studies > 0
