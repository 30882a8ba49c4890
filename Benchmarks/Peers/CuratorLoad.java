import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryOneTime;

/** Curator's DistributedQueue with a lock path, which is its way to lose nothing: CuratorLoad HOST MESSAGES BYTES */
public class CuratorLoad {
    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[1]);
        byte[] payload = new byte[Integer.parseInt(args[2])];
        CountDownLatch taken = new CountDownLatch(count);
        QueueSerializer<byte[]> bytes = new QueueSerializer<>() {
            public byte[] serialize(byte[] item) { return item; }
            public byte[] deserialize(byte[] data) { return data; }
        };
        QueueConsumer<byte[]> consumer = new QueueConsumer<>() {
            public void consumeMessage(byte[] message) { taken.countDown(); }
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        try (CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], new RetryOneTime(1000))) {
            client.start();
            DistributedQueue<byte[]> sending =
                QueueBuilder.builder(client, null, bytes, "/curator").lockPath("/curator-locks").buildQueue();
            sending.start();
            long start = System.nanoTime();
            for (int i = 0; i < count; i++) sending.put(payload);
            sending.flushPuts(5, TimeUnit.MINUTES);
            report("put", count, start);
            DistributedQueue<byte[]> taking =
                QueueBuilder.builder(client, consumer, bytes, "/curator").lockPath("/curator-locks").buildQueue();
            start = System.nanoTime();
            taking.start();
            taken.await();
            report("take", count, start);
            taking.close();
            sending.close();
        }
    }

    static void report(String phase, int count, long start) {
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.printf("{\"phase\": \"%s\", \"messages\": %d, \"seconds\": %f}%n", phase, count, seconds);
    }
}
