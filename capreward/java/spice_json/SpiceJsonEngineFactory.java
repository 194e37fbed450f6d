package capreward;

import java.io.Reader;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import javax.script.AbstractScriptEngine;
import javax.script.Bindings;
import javax.script.ScriptContext;
import javax.script.ScriptEngine;
import javax.script.ScriptEngineFactory;
import javax.script.ScriptException;
import javax.script.SimpleBindings;

/**
 * Stands in for the JavaScript engine that Java lost in version 15.
 *
 * SPICE asks for one only to indent the JSON it has already written. This engine knows that single script and hands the
 * JSON back as it is; every other script is refused, so it can change no score and hide no change of SPICE's.
 *
 * Build: javac --release 8 -Xlint:-options -d classes SpiceJsonEngineFactory.java; then zip, into spice_json.jar, the classes and
 * META-INF/services/javax.script.ScriptEngineFactory, a file with this class's full name.
 */
public final class SpiceJsonEngineFactory implements ScriptEngineFactory {
    private static final String INDENT = "result = JSON.stringify(JSON.parse(jsonString), null, 2)";

    private static final class Engine extends AbstractScriptEngine {
        private final ScriptEngineFactory factory;

        Engine(ScriptEngineFactory factory) {
            this.factory = factory;
        }

        @Override
        public Object eval(String script, ScriptContext context) throws ScriptException {
            if (!INDENT.equals(script)) {
                throw new ScriptException("only SPICE's JSON indentation is supported, not: " + script);
            }
            Bindings bindings = context.getBindings(ScriptContext.ENGINE_SCOPE);
            bindings.put("result", bindings.get("jsonString"));
            return bindings.get("result");
        }

        @Override
        public Object eval(Reader reader, ScriptContext context) throws ScriptException {
            throw new ScriptException("only SPICE's JSON indentation is supported");
        }

        @Override
        public Bindings createBindings() {
            return new SimpleBindings();
        }

        @Override
        public ScriptEngineFactory getFactory() {
            return factory;
        }
    }

    @Override
    public String getEngineName() {
        return "capreward SPICE JSON";
    }

    @Override
    public String getEngineVersion() {
        return "1";
    }

    @Override
    public List<String> getExtensions() {
        return Collections.emptyList();
    }

    @Override
    public List<String> getMimeTypes() {
        return Collections.emptyList();
    }

    @Override
    public List<String> getNames() {
        return Arrays.asList("JavaScript");
    }

    @Override
    public String getLanguageName() {
        return "JavaScript";
    }

    @Override
    public String getLanguageVersion() {
        return "none";
    }

    @Override
    public Object getParameter(String key) {
        return null;
    }

    @Override
    public String getMethodCallSyntax(String object, String method, String... arguments) {
        return null;
    }

    @Override
    public String getOutputStatement(String text) {
        return null;
    }

    @Override
    public String getProgram(String... statements) {
        return null;
    }

    @Override
    public ScriptEngine getScriptEngine() {
        return new Engine(this);
    }
}
