package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;

/** What is said about a call: the fields that every peer of the benchmark writes. */
public record Decision(Call call, String verdict, Instant decidedAt) {
    private static final JsonFactory JSON = new JsonFactory();

    /** The number that decided, the record's key. */
    public byte[] key() {
        return call.caller().getBytes(StandardCharsets.UTF_8);
    }

    /** The record's value. */
    public byte[] json() {
        ByteArrayOutputStream json = new ByteArrayOutputStream(256);
        try (JsonGenerator to = JSON.createGenerator(json)) {
            to.writeStartObject();
            to.writeStringField("call_id", call.callId());
            to.writeStringField("verdict", verdict);
            to.writeStringField("caller", call.caller());
            to.writeStringField("callee", call.callee());
            to.writeStringField("decided_at", decidedAt.toString());
            to.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return json.toByteArray();
    }
}
