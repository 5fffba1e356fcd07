// The C++ loop: what a good C++ engineer writes to block listed callers.
//
// librdkafka's batches of messages, simdjson, a Bloom filter by XXH3, produce; acks of all replicas and
// a linger of 5 ms are the client's defaults. At a linger of 0 it sends each decision by itself, 2,000
// a second: blocks come 10 s late while calls are read. Offsets are committed by the client every 5 s.
//
// --parser dom reads each record whole; --parser ondemand stops reading where the caller stands, and
// reads the other fields only of a decision. Neither confirms a hit, so a false positive of the filter
// (1e-4) blocks an innocent caller.
#include <librdkafka/rdkafka.h>
#include <simdjson.h>
#include <xxhash.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr double kErrorRate = 1e-4;
constexpr int kMessagesMax = 1000;
constexpr int kWaitMs = 100;
volatile std::sig_atomic_t stopped = 0;

struct Options {
  std::string bootstrap, calls, decisions, group, parser = "dom", list;
  bool all = false;
};

Options parse_options(int count, char** words) {
  Options options;
  for (int at = 1; at < count; ++at) {
    const std::string_view name = words[at];
    if (name == "--all") {
      options.all = true;
      continue;
    }
    if (at + 1 == count) throw std::invalid_argument(std::string(name) + " needs a value");
    const char* value = words[++at];
    if (name == "--bootstrap") options.bootstrap = value;
    else if (name == "--calls") options.calls = value;
    else if (name == "--decisions") options.decisions = value;
    else if (name == "--group") options.group = value;
    else if (name == "--parser") options.parser = value;
    else if (name == "--list") options.list = value;
    else throw std::invalid_argument("unknown option " + std::string(name));
  }
  return options;
}

// A Bloom filter whose places are made of the two halves of one hash (Kirsch and Mitzenmacher, 2006).
class Bloom {
 public:
  explicit Bloom(size_t numbers)
      : bits_(static_cast<size_t>(std::ceil(-std::log(kErrorRate) * numbers / (M_LN2 * M_LN2)))),
        hashes_(static_cast<int>(std::round(M_LN2 * bits_ / numbers))),
        words_(bits_ / 64 + 1) {}

  void add(std::string_view number) {
    const auto hash = XXH3_128bits(number.data(), number.size());
    for (int nth = 0; nth < hashes_; ++nth) {
      const size_t bit = place(hash, nth);
      words_[bit / 64] |= 1ULL << (bit % 64);
    }
  }

  bool has(std::string_view number) const {
    const auto hash = XXH3_128bits(number.data(), number.size());
    for (int nth = 0; nth < hashes_; ++nth) {
      const size_t bit = place(hash, nth);
      if (!(words_[bit / 64] >> (bit % 64) & 1)) return false;
    }
    return true;
  }

 private:
  size_t place(XXH128_hash_t hash, int nth) const {
    return static_cast<size_t>((hash.low64 + nth * hash.high64) % bits_);
  }

  size_t bits_;
  int hashes_;
  std::vector<uint64_t> words_;
};

Bloom load_list(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  std::vector<std::string> numbers;
  for (std::string line; std::getline(file, line);) numbers.push_back(line);
  Bloom list(numbers.size());
  for (const auto& number : numbers) list.add(number);
  return list;
}

void append_text(std::string& json, std::string_view text) {
  json += '"';
  for (const char one : text) {
    if (one == '"' || one == '\\') json += '\\';
    if (static_cast<unsigned char>(one) < 0x20) throw std::runtime_error("control character in a text");
    json += one;
  }
  json += '"';
}

void append_now(std::string& json) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char text[40];
  const size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text + length, sizeof text - length, ".%06ldZ", now.tv_nsec / 1000);
  append_text(json, text);
}

void decision(std::string& json, std::string_view verdict, std::string_view call_id,
              std::string_view caller, std::string_view callee) {
  json = "{\"call_id\":";
  append_text(json, call_id);
  json += ",\"verdict\":";
  append_text(json, verdict);
  json += ",\"caller\":";
  append_text(json, caller);
  json += ",\"callee\":";
  append_text(json, callee);
  json += ",\"decided_at\":";
  append_now(json);
  json += '}';
}

// The parsers read from a padded buffer, into which each record is copied.
class Decider {
 public:
  Decider(const Options& options, const Bloom& list)
      : list_(list), all_(options.all), early_(options.parser == "ondemand"), buffer_(4096) {}

  // Returns whether there is something to send; then `key` and `value` hold it.
  bool decide(const void* record, size_t length) {
    if (buffer_.size() < length + simdjson::SIMDJSON_PADDING)
      buffer_.resize(2 * (length + simdjson::SIMDJSON_PADDING));
    std::memcpy(buffer_.data(), record, length);
    return early_ ? early(length) : whole(length);
  }

  std::string key, value;

 private:
  bool whole(size_t length) {
    const simdjson::dom::element call = dom_.parse(buffer_.data(), length, false);
    const std::string_view caller = call["caller"];
    const bool listed = list_.has(caller);
    if (!listed && !all_) return false;
    send(listed, call["call_id"], caller, call["callee"]);
    return true;
  }

  bool early(size_t length) {
    simdjson::ondemand::document call =
        ondemand_.iterate(buffer_.data(), length, buffer_.size());
    const std::string_view caller = call["caller"];
    const bool listed = list_.has(caller);
    if (!listed && !all_) return false;
    const std::string_view call_id = call["call_id"];
    const std::string_view callee = call["callee"];
    send(listed, call_id, caller, callee);
    return true;
  }

  void send(bool listed, std::string_view call_id, std::string_view caller, std::string_view callee) {
    key = caller;
    decision(value, listed ? "block" : "allow", call_id, caller, callee);
  }

  const Bloom& list_;
  const bool all_, early_;
  std::vector<char> buffer_;
  simdjson::dom::parser dom_;
  simdjson::ondemand::parser ondemand_;
};

using Settings = std::vector<std::pair<const char*, std::string>>;

rd_kafka_t* client(rd_kafka_type_t type, const Settings& settings) {
  char reason[512];
  rd_kafka_conf_t* configuration = rd_kafka_conf_new();
  for (const auto& [name, value] : settings)
    if (rd_kafka_conf_set(configuration, name, value.c_str(), reason, sizeof reason))
      throw std::runtime_error(reason);
  if (type == RD_KAFKA_PRODUCER)
    // A lost block is a lost block.
    rd_kafka_conf_set_dr_msg_cb(configuration, [](rd_kafka_t*, const rd_kafka_message_t* sent, void*) {
      if (sent->err) {
        std::cerr << rd_kafka_err2str(sent->err) << std::endl;
        std::_Exit(1);
      }
    });
  rd_kafka_t* made = rd_kafka_new(type, configuration, reason, sizeof reason);
  if (!made) throw std::runtime_error(reason);
  return made;
}

void produce(rd_kafka_t* producer, const std::string& topic, const Decider& made) {
  for (;;) {
    const auto error = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(made.key.data(), made.key.size()),
        RD_KAFKA_V_VALUE(const_cast<char*>(made.value.data()), made.value.size()), RD_KAFKA_V_END);
    if (!error) return;
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) throw std::runtime_error(rd_kafka_err2str(error));
    rd_kafka_poll(producer, kWaitMs);
  }
}

// Reads calls, looks each caller up and sends decisions until SIGTERM.
void run(const Options& options) {
  const Bloom list = load_list(options.list);
  Decider decider(options, list);
  rd_kafka_t* consumer = client(
      RD_KAFKA_CONSUMER, {{"bootstrap.servers", options.bootstrap},
                          {"group.id", options.group},
                          {"auto.offset.reset", "earliest"}});
  rd_kafka_t* producer = client(RD_KAFKA_PRODUCER, {{"bootstrap.servers", options.bootstrap}});
  rd_kafka_poll_set_consumer(consumer);
  rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(topics, options.calls.c_str(), RD_KAFKA_PARTITION_UA);
  rd_kafka_subscribe(consumer, topics);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(consumer);
  rd_kafka_message_t* messages[kMessagesMax];
  while (!stopped) {
    const auto count = rd_kafka_consume_batch_queue(queue, kWaitMs, messages, kMessagesMax);
    for (ssize_t at = 0; at < count; ++at) {
      const rd_kafka_message_t* record = messages[at];
      if (record->err) {
        throw std::runtime_error(rd_kafka_message_errstr(record));
      }
      if (decider.decide(record->payload, record->len)) produce(producer, options.decisions, decider);
      rd_kafka_message_destroy(messages[at]);
    }
    rd_kafka_poll(producer, 0);
  }
  rd_kafka_flush(producer, 30'000);
  rd_kafka_consumer_close(consumer);
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGTERM, [](int) { stopped = 1; });
  std::signal(SIGINT, [](int) { stopped = 1; });
  try {
    run(parse_options(count, words));
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
