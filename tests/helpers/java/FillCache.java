import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** Writes parses into SPICE's cache with SPICE's own code: lines of "caption TAB word,word TAB word ...". */
public class FillCache {
    public static void main(String[] arguments) throws Exception {
        Map<String, ArrayList<ArrayList<String>>> parses = new HashMap<>();
        for (String line : Files.readAllLines(Paths.get(arguments[1]), StandardCharsets.UTF_8)) {
            String[] fields = line.split("\t");
            ArrayList<ArrayList<String>> tuples = new ArrayList<>();
            for (String tuple : Arrays.copyOfRange(fields, 1, fields.length)) {
                tuples.add(new ArrayList<>(Arrays.asList(tuple.split(","))));
            }
            parses.put(fields[0], tuples);
        }
        Class<?> type = Class.forName("edu.anu.spice.LmdbTupleDB");
        Object database = type.getConstructor(String.class).newInstance(arguments[0]);
        type.getMethod("putTransaction", Map.class).invoke(database, parses);
    }
}
