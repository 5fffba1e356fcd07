"""Promises of `stream.kafka.partitioner`."""

from stream.kafka.partitioner import murmur2, partitions_of


def test_known_hashes_of_the_java_client():
    """The values that Kafka's own UtilsTest.testMurmur2 expects, from both sides of the sign."""
    cases = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert list(cases.values()) == murmur2(list(cases)).astype("int32").tolist()


def test_no_keys():
    """A batch without decisions needs no partitions."""
    assert partitions_of([], 12).tolist() == []
