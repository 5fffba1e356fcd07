"""Faults, on the real engine with Apache Kafka and redis-server: which test answers for what.

    any bytes as a call record        test_records.py; decoding alone: property/test_decode.py
    any text as a number              test_records.py; parsing alone: property/test_number.py
    any bytes as a filter             unit/core/filters/test_bloom.py, property/test_bloom.py
    ... as a snapshot or manifest     unit/core/filters/test_snapshot.py, property/test_snapshot.py
    ... a flipped bit, half a file    test_damage.py; each kind alone: test_snapshot_directory.py,
                                      test_change_log.py; in Redis: integration/test_list_store.py
                                      (a damaged base), test_refresh.py (the old one stays)
    wrong configuration               test_settings.py; each error alone: unit/test_config.py
    Redis down at start, in mid-run,  test_redis.py; the lists' way alone, with a generation that
    emptied, evicting                 went back, gaps and chains: integration/test_refresh.py
    Kafka down at start, in mid-run   test_kafka.py
    topic missing, few partitions     test_kafka.py; integration/test_calls_way.py
    kill -9 of a worker, 20 times     test_deaths.py, for each delivery
    rebalance under load, 20 times    test_deaths.py, for each delivery
    workers come and go with the lag  test_scaling.py, in `make campaign`
    broker restart, 20 times          test_kafka.py, for each delivery
                                      20 times in `make campaign`, twice in `make test`
    a leader dies or moves            test_cluster.py, in `make campaign`
    a site is switched off            test_two_sites.py, in `make campaign`
    brokers restarted in turn         test_cluster.py, in `make campaign`
    SIGTERM under load                test_deaths.py
    a dead worker, a dead supervisor  test_deaths.py
    any order of faults in the loop   test_loop.py, scripted and by hypothesis, without servers
    a transaction's last moments      integration/test_calls_exactly_once.py

traffic.py sends calls with known truth and judges what came of them: ids are computed from where
each record lies in Kafka, not taken from the engine.
"""
