package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;

/**
 * What a decision needs of a call record.
 *
 * <p>Read by Jackson's streaming parser, whole, so that a broken record is noticed. Binding to a
 * class by ObjectMapper, which more people write, was slower; the peers get the faster way.
 */
public record Call(String callId, String caller, String callee) {
    private static final JsonFactory JSON = new JsonFactory();

    /** The call in a record; IOException if the record is no JSON object. */
    public static Call parse(byte[] record) throws IOException {
        String callId = null;
        String caller = null;
        String callee = null;
        try (JsonParser parser = JSON.createParser(record)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new IOException("a call is a JSON object");
            }
            for (String field = parser.nextFieldName();
                    field != null;
                    field = parser.nextFieldName()) {
                switch (field) {
                    case "call_id" -> callId = parser.nextTextValue();
                    case "caller" -> caller = parser.nextTextValue();
                    case "callee" -> callee = parser.nextTextValue();
                    default -> {
                        parser.nextToken();
                        parser.skipChildren();
                    }
                }
            }
        }
        return new Call(callId, caller, callee);
    }
}
