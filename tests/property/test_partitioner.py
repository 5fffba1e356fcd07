"""The vectorised partitioner against aiokafka's, key by key."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.partitioner import partitions_of


@given(
    keys=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=30),
    count=st.integers(1, 100),
)
def test_keys_go_where_kafka_sends_them(keys, count):
    """Any bytes, NULs at their end included, get the partition of Kafka's default partitioner."""
    partitions = list(range(count))
    expected = [DefaultPartitioner()(key, partitions, partitions) for key in keys]
    assert expected == partitions_of(keys, count).tolist()
