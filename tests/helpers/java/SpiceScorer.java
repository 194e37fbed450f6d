package edu.anu.spice;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Takes SPICE's command line and answers in its format; the candidate of the first item says how to behave. */
public class SpiceScorer {
    private static final String[] CATEGORIES =
        {"All", "Object", "Attribute", "Relation", "Cardinality", "Color", "Size"};

    public static void main(String[] arguments) throws Exception {
        String expected = "in.json -out out.json -subset -silent -threads 3";
        if (!String.join(" ", arguments).startsWith(expected)) {
            throw new IllegalArgumentException("not SPICE's command line: " + String.join(" ", arguments));
        }
        Path output = Paths.get("out.json");
        String input = new String(Files.readAllBytes(Paths.get("in.json")), StandardCharsets.UTF_8);
        Matcher items = Pattern.compile("\"image_id\": (\\d+), \"test\": \"([^\"]*)\"").matcher(input);
        List<String> results = new ArrayList<>();
        String behaviour = "";
        while (items.find()) {
            if (results.isEmpty()) {
                behaviour = items.group(2);
            }
            results.add(item(items.group(1), items.group(2).length()));
        }
        Collections.reverse(results);
        if (behaviour.equals("slow")) {
            Thread.sleep(600_000);
        } else if (behaviour.equals("crash")) {
            throw new RuntimeException("Unable to resolve englishPCFG.ser.gz");
        } else if (behaviour.equals("fewer")) {
            results.remove(0);
        }
        String text = behaviour.equals("malformed") ? "[{\"image_id\": 0, " : results.toString();
        if (!behaviour.equals("nothing")) {
            Files.write(output, text.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** The F-score is 1/length, so that a test can tell the items apart. */
    private static String item(String id, int length) {
        List<String> scores = new ArrayList<>();
        for (String category : CATEGORIES) {
            String value = category.equals("Color") ? "null" : Double.toString(1.0 / length);
            scores.add(String.format("\"%s\":{\"f\":%s,\"pr\":%s,\"re\":%s,\"tp\":1,\"fp\":2,\"fn\":3,\"numImages\":1}",
                category, value, value, value));
        }
        return "{\"scores\":{" + String.join(",", scores) + "},\"image_id\":" + id + "}";
    }
}
