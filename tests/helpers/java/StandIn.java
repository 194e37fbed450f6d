import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import javax.script.ScriptEngine;
import javax.script.ScriptEngineManager;

/** Behaves, and misbehaves, as the first argument says. */
public class StandIn {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "echo":
                echo();
                break;
            case "sleep":
                System.out.println("asleep");
                Thread.sleep(600_000);
                break;
            case "noise":
                for (int i = 0; i < 20_000; i++) {
                    System.err.println("noise number " + i + " which is long enough to fill every pipe in the end");
                }
                System.out.println("done");
                break;
            case "crash":
                throw new IllegalStateException("the reason of it all");
            case "script":
                ScriptEngine engine = new ScriptEngineManager().getEngineByName("JavaScript");
                engine.put("jsonString", "[{\"f\": 0.1}]");
                engine.eval(arguments[1]);
                System.out.println(engine.get("result"));
                break;
            case "memory":
                ArrayList<byte[]> all = new ArrayList<>();
                while (true) {
                    all.add(new byte[1 << 20]);
                }
            default:
                System.out.println(System.getProperty(arguments[0]));
        }
    }

    private static void echo() throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.equals("exit")) {
                System.err.println("asked to leave");
                System.exit(7);
            }
            if (!line.equals("silence")) {
                System.out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
                System.out.flush();
            }
        }
    }
}
