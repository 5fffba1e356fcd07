package bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** The Kafka Streams DSL at its default settings, one thread, acks=all. */
public final class KafkaStreamsPeer {
    private static final Serde<Call> CALLS =
            Serdes.serdeFrom(KafkaStreamsPeer::never, KafkaStreamsPeer::parsed);
    private static final Serde<Decision> DECISIONS =
            Serdes.serdeFrom((topic, decision) -> decision.json(), KafkaStreamsPeer::never);

    private KafkaStreamsPeer() {}

    /** Until SIGTERM. */
    public static void main(String[] arguments) throws IOException {
        Options options = Options.parse(arguments);
        Properties settings = new Properties();
        settings.putAll(
                Map.of(
                        StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap(),
                        StreamsConfig.APPLICATION_ID_CONFIG, options.group(),
                        StreamsConfig.STATE_DIR_CONFIG,
                                Files.createTempDirectory("streams").toString(),
                        StreamsConfig.producerPrefix("acks"), "all",
                        StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest"));
        KafkaStreams streams =
                new KafkaStreams(topology(options, Blocklist.load(options)), settings);
        streams.setUncaughtExceptionHandler(
                error -> StreamThreadExceptionResponse.SHUTDOWN_APPLICATION);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static Topology topology(Options options, Blocklist blocklist) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(options.calls(), Consumed.with(Serdes.ByteArray(), CALLS))
                .mapValues(blocklist::decide)
                .filter((key, decision) -> decision != null)
                .map((key, decision) -> KeyValue.pair(decision.key(), decision))
                .to(options.decisions(), Produced.with(Serdes.ByteArray(), DECISIONS));
        return builder.build();
    }

    private static Call parsed(String topic, byte[] record) {
        try {
            return Call.parse(record);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static <T> T never(String topic, Object value) {
        throw new UnsupportedOperationException("calls are only read, decisions only written");
    }
}
