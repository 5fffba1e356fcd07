package bench;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The hand-written Java loop: poll, parse, look up, send.
 *
 * <p>Clients at their defaults (acks=all, idempotent producer, linger 5 ms, automatic commits).
 */
public final class JavaLoop {
    private JavaLoop() {}

    /** Until SIGTERM. */
    public static void main(String[] arguments) throws IOException {
        Options options = Options.parse(arguments);
        Blocklist blocklist = Blocklist.load(options);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(options);
                KafkaProducer<byte[], byte[]> producer = producer(options)) {
            endWithTheLoop(consumer, Thread.currentThread());
            consumer.subscribe(List.of(options.calls()));
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record :
                        consumer.poll(Duration.ofMillis(100))) {
                    Decision decision = blocklist.decide(Call.parse(record.value()));
                    if (decision != null) {
                        send(producer, options.decisions(), decision);
                    }
                }
            }
        } catch (WakeupException stop) {
            // SIGTERM: the clients are closed, what was sent is acknowledged.
        }
    }

    private static void send(
            KafkaProducer<byte[], byte[]> producer, String topic, Decision decision) {
        producer.send(
                new ProducerRecord<>(topic, decision.key(), decision.json()),
                (sent, error) -> {
                    if (error != null) {
                        error.printStackTrace();
                        Runtime.getRuntime().halt(1);
                    }
                });
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Options options) {
        return new KafkaConsumer<>(
                Map.of(
                        ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap(),
                        ConsumerConfig.GROUP_ID_CONFIG, options.group(),
                        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"),
                new ByteArrayDeserializer(),
                new ByteArrayDeserializer());
    }

    private static KafkaProducer<byte[], byte[]> producer(Options options) {
        return new KafkaProducer<>(
                Map.of(
                        ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap(),
                        ProducerConfig.ACKS_CONFIG, "all"),
                new ByteArraySerializer(),
                new ByteArraySerializer());
    }

    private static void endWithTheLoop(KafkaConsumer<?, ?> consumer, Thread loop) {
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(
                                () -> {
                                    consumer.wakeup();
                                    try {
                                        loop.join();
                                    } catch (InterruptedException error) {
                                        Thread.currentThread().interrupt();
                                    }
                                }));
    }
}
