package bench;

import com.google.common.hash.BloomFilter;
import com.google.common.hash.Funnels;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;

/** One list as a Guava filter, and what follows from it for a call. */
public final class Blocklist {
    private static final double ERROR_RATE = 1e-4;

    private final BloomFilter<CharSequence> numbers;
    private final boolean all;

    private Blocklist(BloomFilter<CharSequence> numbers, boolean all) {
        this.numbers = numbers;
        this.all = all;
    }

    /** The list that the options name, a number a line. */
    public static Blocklist load(Options options) throws IOException {
        List<String> lines = Files.readAllLines(Path.of(options.list()));
        BloomFilter<CharSequence> numbers =
                BloomFilter.create(
                        Funnels.stringFunnel(StandardCharsets.UTF_8), lines.size(), ERROR_RATE);
        lines.forEach(numbers::put);
        return new Blocklist(numbers, options.all());
    }

    /** The decision to send, null if there is none. */
    public Decision decide(Call call) {
        if (numbers.mightContain(call.caller())) {
            return new Decision(call, "block", Instant.now());
        }
        return all ? new Decision(call, "allow", Instant.now()) : null;
    }
}
