import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableEnvironment;

/** Runs a file of Flink SQL in a cluster inside this process; its INSERTs become one job. */
public class Launcher {
  private static final String VIEW =
      "CREATE OR REPLACE VIEW bench_example AS SELECT id, \"datasetId\" AS datasetid, input,"
          + " intent, tags, \"createdAt\" AS createdat, \"eventId\" AS eventid,"
          + " \"predictedIntent\" AS predictedintent, confidence,"
          + " \"reviewReasons\" AS reviewreasons, sender, channel,"
          + " \"modelVersion\" AS modelversion, \"currentStep\" AS currentstep FROM \"Example\"";

  public static void main(String[] arguments) throws Exception {
    Map<String, String> variables = new TreeMap<>(System.getenv());
    variables.put("JDBC_URL", jdbcUrl(URI.create(System.getenv("DATABASE_URL"))));
    variables.put("BINS", bins());
    try (var connection = DriverManager.getConnection(variables.get("JDBC_URL"))) {
      connection.createStatement().execute(VIEW);
    }
    TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
    StatementSet inserts = tables.createStatementSet();
    String text = filled(Files.readString(Path.of(arguments[0])), variables);
    for (String statement : text.replaceAll("(?m)^--.*$", "").split(";\\s*\\n")) {
      run(statement.strip(), tables, inserts);
    }
    JobClient job = inserts.execute().getJobClient().orElseThrow();
    while (job.getJobStatus().get() != JobStatus.RUNNING) {
      Thread.sleep(20);
    }
    System.out.printf("READY %d.%03d%n", System.currentTimeMillis() / 1000,
        System.currentTimeMillis() % 1000);
    job.getJobExecutionResult().get();
  }

  private static void run(String statement, TableEnvironment tables, StatementSet inserts) {
    if (statement.startsWith("SET")) {
      String[] parts = statement.split("'");
      tables.getConfig().set(parts[1], parts[3]);
    } else if (statement.startsWith("INSERT")) {
      inserts.addInsertSql(statement);
    } else if (!statement.isEmpty()) {
      tables.executeSql(statement);
    }
  }

  private static String filled(String text, Map<String, String> variables) {
    for (Map.Entry<String, String> variable : variables.entrySet()) {
      text = text.replace("${" + variable.getKey() + "}", variable.getValue());
    }
    return text;
  }

  /** The bins of the histogram between the first and the last. */
  private static String bins() {
    return IntStream.range(1, 19)
        .mapToObj(bin -> "    || ',' || CAST(COUNT(*) FILTER (WHERE micros / 50000 = " + bin
            + ") AS STRING)")
        .collect(Collectors.joining("\n"));
  }

  /** Text may stand for any type, and an insert of many rows is one statement. */
  private static String jdbcUrl(URI url) {
    String[] login = url.getUserInfo().split(":", 2);
    String password = login.length > 1 ? "&password=" + login[1] : "";
    return "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath() + "?user="
        + login[0] + password + "&stringtype=unspecified&reWriteBatchedInserts=true";
  }
}
