"""What is published: numbered payloads, by publishers whose order holds also when the broker goes and comes back."""
import json
import threading
import time

import paho.mqtt.client as mqtt


def payloads(topic, n):
    """What is published as number n: topic, payload, retained."""
    now = time.time()
    if topic.endswith("/state"):
        return [(topic, json.dumps({"n": n, "t": now}) if n % 2 else b"", True)]
    if topic.startswith("parts/"):
        return [(topic, json.dumps({member: {"n": n, "t": now} for member in "ab"}), False)]
    return [(topic, json.dumps({"n": n, "t": now + i}), False) for i in range(2 if topic.endswith("/news") else 1)]


def channels(topic):
    return [f"plant/{topic[6:]}/{member}" for member in "ab"] if topic.startswith("parts/") else [topic]


class Publisher:
    """Sends 1, 2, 3, ... to each of its topics in turn, at QoS 1; paho sends again what the broker did not acknowledge."""

    def __init__(self, port, name, topics, rate):
        self.topics = {topic: 0 for topic in topics}
        self.rate = rate
        self.stopping = threading.Event()
        self.resting = threading.Event()
        self.lost = threading.Event()  # the broker was away: what it did not acknowledge must be there before anything new
        self.newest, self.probed = None, False
        self.client = mqtt.Client(client_id=name, clean_session=False, protocol=mqtt.MQTTv311)
        self.client.max_inflight_messages_set(100)
        self.client.max_queued_messages_set(0)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_disconnect = self.on_disconnect
        self.under_way = {}     # packet identifier -> channel and n, where the broker has not acknowledged it
        self.early = set()
        self.sent_again = set() # those that paho sends again: the broker may have them already, and takes them for new ones
        self.client.on_publish = self.on_publish
        self.client.connect("127.0.0.1", port, 30)
        self.client.loop_start()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_publish(self, _client, _data, mid):
        if self.under_way.pop(mid, None) is None:
            self.early.add(mid)

    def on_disconnect(self, *_):
        for channel, n in list(self.under_way.values()):
            self.sent_again.update((channel, n) for channel in channels(channel))
        self.lost.set()

    def waits(self):
        """paho would send new ones between those that it sends again."""
        if self.resting.is_set():
            self.stopping.wait(0.005)
            return True
        if not self.lost.is_set():
            return False
        if not self.client.is_connected() or (self.newest and self.newest.mid in self.under_way):
            self.stopping.wait(0.005)
            return True
        if not self.probed: # paho may say that it is connected where it is not, and then sends what is published now behind what comes later
            self.probed = True
            self.publish("probe", 0, "probe", b"", False)
            return True
        self.probed = False
        self.lost.clear()
        return False

    def publish(self, topic, n, to, payload, retain):
        self.newest = self.client.publish(to, payload, 1, retain)
        self.under_way[self.newest.mid] = topic, n
        if self.newest.mid in self.early: # acknowledged before that was noted
            self.early.discard(self.newest.mid)
            self.under_way.pop(self.newest.mid, None)

    def send(self, topic):
        self.topics[topic] += 1
        for to, payload, retain in payloads(topic, self.topics[topic]):
            self.publish(topic, self.topics[topic], to, payload, retain)

    def run(self):
        names, sent, begun = list(self.topics), 0, time.monotonic()
        while not self.stopping.is_set():
            if self.waits():
                continue
            for _ in range(int((time.monotonic() - begun) * self.rate) - sent):
                if self.lost.is_set():
                    break
                self.send(names[sent % len(names)])
                sent += 1
            self.stopping.wait(0.005)

    def stop(self):
        """Returns what was sent in all once the broker has it: channel -> count."""
        self.stopping.set()
        self.thread.join()
        info = self.client.publish("drained", b"", 1)
        info.wait_for_publish(60)
        self.client.disconnect()
        self.client.loop_stop()
        return {channel: n for topic, n in self.topics.items() for channel in channels(topic)}
