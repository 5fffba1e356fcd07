package bench;

import java.io.IOException;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Flink's DataStream in a local MiniCluster, parallelism 1, so that source, function and sink are
 * one chain; object reuse on, at least once, a checkpoint every 5 s, acks=all.
 */
public final class FlinkPeer {
    private static final long CHECKPOINT_MS = 5_000;

    private FlinkPeer() {}

    /** Until the process is ended. */
    public static void main(String[] arguments) throws Exception {
        Options options = Options.parse(arguments);
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(1, new Configuration());
        environment.getConfig().enableObjectReuse();
        environment.enableCheckpointing(CHECKPOINT_MS);
        environment
                .fromSource(source(options), WatermarkStrategy.noWatermarks(), "calls")
                .flatMap(new Decide(options))
                .returns(Sent.class)
                .sinkTo(sink(options));
        environment.execute("block listed callers");
    }

    private static KafkaSource<Read> source(Options options) {
        return KafkaSource.<Read>builder()
                .setBootstrapServers(options.bootstrap())
                .setTopics(options.calls())
                .setGroupId(options.group())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new ReadCall())
                .build();
    }

    private static KafkaSink<Sent> sink(Options options) {
        return KafkaSink.<Sent>builder()
                .setBootstrapServers(options.bootstrap())
                .setProperty("acks", "all")
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(new WriteDecision(options.decisions()))
                .build();
    }

    /** A call between source and function; a chain of one process hands it over as it is. */
    public static final class Read {
        final Call call;

        Read(Call call) {
            this.call = call;
        }
    }

    /** A decision between function and sink. */
    public static final class Sent {
        final Decision decision;

        Sent(Decision decision) {
            this.decision = decision;
        }
    }

    private static final class ReadCall extends AbstractDeserializationSchema<Read> {
        @Override
        public Read deserialize(byte[] record) throws IOException {
            return new Read(Call.parse(record));
        }
    }

    private static final class WriteDecision implements KafkaRecordSerializationSchema<Sent> {
        private final String topic;

        WriteDecision(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
                Sent sent, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(topic, sent.decision.key(), sent.decision.json());
        }
    }

    private static final class Decide extends RichFlatMapFunction<Read, Sent> {
        private final Options options;
        private transient Blocklist blocklist;

        Decide(Options options) {
            this.options = options;
        }

        @Override
        public void open(OpenContext context) throws IOException {
            blocklist = Blocklist.load(options);
        }

        @Override
        public void flatMap(Read read, Collector<Sent> out) {
            Decision decision = blocklist.decide(read.call);
            if (decision != null) {
                out.collect(new Sent(decision));
            }
        }
    }
}
