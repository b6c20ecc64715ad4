import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Kafka Streams doing the same decode and windows as the worker. It keeps its windows on the heap, without a state
 * store, and scores nothing: a favour to it. It reads the topic twice; the first time warms the compiler, the second
 * is measured.
 *
 * <p>java WindowContender BOOTSTRAP TOPIC FORM READINGS SENSORS STEPS prints one line of JSON.
 */
public final class WindowContender {
    private static final double WARM = 0.2;
    private static final double DONE = 0.95;

    /** A record of the form "readings". */
    public record Reading(String sensor, String time, double value) {}

    /** A record of the form "rows". */
    public record Row(String time, Map<String, Double> values) {}

    /** Counts readings and keeps the times at which two fractions of the load had passed. */
    static final class Progress {
        private final long total;
        private final CountDownLatch done = new CountDownLatch(1);
        private long count;
        private long countWhenWarm;
        private long warmNanos;
        private double readingsPerSecond;

        Progress(long total) {
            this.total = total;
        }

        void add(long readings) {
            count += readings;
            if (warmNanos == 0) {
                if (count >= WARM * total) {
                    warmNanos = System.nanoTime();
                    countWhenWarm = count;
                }
            } else if (readingsPerSecond == 0 && count >= DONE * total) {
                readingsPerSecond = (count - countWhenWarm) * 1e9 / (System.nanoTime() - warmNanos);
                done.countDown();
            }
        }
    }

    /** The last rows of one asset, and the row that is being filled. */
    static final class Window {
        private final Deque<double[]> rows = new ArrayDeque<>();
        private String time = "";
        private double[] current;
        private int filled;
    }

    static final class Windows implements Processor<String, byte[], Void, Void> {
        private final ObjectReader readings = new ObjectMapper().readerFor(Reading.class);
        private final ObjectReader rows = new ObjectMapper().readerFor(Row.class);
        private final Map<String, Window> windows = new HashMap<>();
        private final Map<String, Integer> slots = new HashMap<>();
        private final boolean inRows;
        private final int steps;
        private final Progress progress;

        Windows(String form, int sensors, int steps, Progress progress) {
            this.inRows = form.equals("rows");
            this.steps = steps;
            this.progress = progress;
            for (int sensor = 1; sensor <= sensors; sensor++) {
                slots.put("x" + sensor, sensor - 1);
            }
        }

        @Override
        public void process(Record<String, byte[]> record) {
            Window window = windows.computeIfAbsent(record.key(), key -> new Window());
            try {
                if (inRows) {
                    Row row = rows.readValue(record.value());
                    double[] values = emptyRow();
                    row.values().forEach((sensor, value) -> values[slots.get(sensor)] = value);
                    close(window, values);
                    progress.add(row.values().size());
                } else {
                    Reading reading = readings.readValue(record.value());
                    if (!reading.time().equals(window.time)) {
                        window.time = reading.time();
                        window.current = emptyRow();
                        window.filled = 0;
                    }
                    window.current[slots.get(reading.sensor())] = reading.value();
                    if (++window.filled == slots.size()) {
                        close(window, window.current);
                    }
                    progress.add(1);
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        private double[] emptyRow() {
            double[] row = new double[slots.size()];
            Arrays.fill(row, Double.NaN);
            return row;
        }

        private void close(Window window, double[] row) {
            window.rows.addLast(row);
            if (window.rows.size() > steps) {
                window.rows.removeFirst();
            }
        }
    }

    private static double pass(String bootstrap, String topic, String form, long readings, int sensors, int steps)
            throws IOException, InterruptedException {
        Progress progress = new Progress(readings);
        Topology topology = new Topology();
        topology.addSource("readings", new StringDeserializer(), new ByteArrayDeserializer(), topic);
        topology.addProcessor("windows", () -> new Windows(form, sensors, steps, progress), "readings");
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "kafka-streams-" + topic + "-" + System.nanoTime());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 2000);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("kafka-streams").toString());
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 5000);
        settings.put(StreamsConfig.consumerPrefix("check.crcs"), false);
        KafkaStreams streams = new KafkaStreams(topology, settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
        progress.done.await();
        streams.close();
        return progress.readingsPerSecond;
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        long readings = Long.parseLong(arguments[3]);
        int sensors = Integer.parseInt(arguments[4]);
        int steps = Integer.parseInt(arguments[5]);
        double rate = 0;
        for (int pass = 0; pass < 2; pass++) {
            rate = pass(arguments[0], arguments[1], arguments[2], readings, sensors, steps);
        }
        System.out.println("{\"readings_per_s\": " + rate + "}");
        System.exit(0);
    }
}
