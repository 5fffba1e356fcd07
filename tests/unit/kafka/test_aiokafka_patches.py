"""Questions for metadata, of a fetcher that asks again at once."""

import asyncio
from types import SimpleNamespace

from stream.kafka.aiokafka_patches import PACE_S, pace_metadata


async def test_metadata_are_asked_for_at_a_pace_and_none_is_dropped() -> None:
    """Its fetcher asks at once where a partition has no leader; what is too soon comes late."""
    loop = asyncio.get_running_loop()
    asked = 0

    def force_metadata_update() -> asyncio.Future[bool]:
        nonlocal asked
        asked += 1
        answer: asyncio.Future[bool] = loop.create_future()
        answer.set_result(False)
        return answer

    client = SimpleNamespace(force_metadata_update=force_metadata_update, cluster="its own")
    consumer = SimpleNamespace(_client=client, _fetcher=SimpleNamespace(_client=client))
    pace_metadata(consumer)
    paced = consumer._fetcher._client
    assert paced.cluster == "its own"
    began_s = loop.time()
    for _ in range(5):
        await paced.force_metadata_update()
    assert 1 < asked <= 2 + (loop.time() - began_s) / PACE_S
    before = asked
    paced.force_metadata_update()
    await paced.force_metadata_update()
    assert asked > before
