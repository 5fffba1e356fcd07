package bench;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;

/** The command line that all peers share: --bootstrap --calls --decisions --group --list [--all]. */
public record Options(
        String bootstrap, String calls, String decisions, String group, String list, boolean all)
        implements Serializable {

    /** Read it; IllegalArgumentException names what is missing. */
    public static Options parse(String[] arguments) {
        List<String> given = Arrays.asList(arguments);
        return new Options(
                value(given, "--bootstrap"),
                value(given, "--calls"),
                value(given, "--decisions"),
                value(given, "--group"),
                value(given, "--list"),
                given.contains("--all"));
    }

    private static String value(List<String> given, String name) {
        int at = given.indexOf(name);
        if (at < 0 || at + 1 == given.size()) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return given.get(at + 1);
    }
}
